/** Flags of `graft serve`: llama-server's names, each with a variable of the environment. */
import { INFERENCE_PARAMETERS } from "../../tasks/inference_model.ts";
import { boolean, integer, list, number, text, type Values } from "../flags.ts";
import { MODEL_TEXT } from "../models/model_text.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { ADAPTER_FLAGS, FINE_TUNING_FLAGS, WEBUI_FLAG } from "./request_flags.ts";

const MODEL = "Model";
const NETWORK = "Network";
const ACCESS = "Access";
const LIMITS = "Limits";

export const SERVE_FLAGS = {
  model: text(MODEL_TEXT, { short: "m", placeholder: "DIR", group: MODEL }),
  adapterPath: text("Adapter to run on the model without merging it", {
    placeholder: "DIR",
    aliases: ["lora"],
    group: MODEL,
  }),
  alias: text("Name of the model in requests and answers; that of its folder if absent", {
    short: "a",
    group: MODEL,
  }),
  ctxSize: integer("Tokens of prompt and answer together; what the model takes if absent", {
    ...INFERENCE_PARAMETERS.ctxSize,
    short: "c",
    group: MODEL,
  }),
  parallel: integer("Answers that are generated at the same time, in shared runs", {
    ...INFERENCE_PARAMETERS.parallel,
    short: "np",
    default: 4,
    group: MODEL,
  }),
  nPredict: integer("Tokens of an answer whose request states none; -1 for the whole context", {
    short: "n",
    aliases: ["predict"],
    default: -1,
    min: -1,
    group: MODEL,
  }),

  ...ADAPTER_FLAGS,
  ...FINE_TUNING_FLAGS,

  host: text("Address to listen on; other machines need a key", {
    default: "127.0.0.1",
    group: NETWORK,
  }),
  port: integer("Port to listen on; 0 for any free one", {
    default: 8080,
    min: 0,
    max: 65535,
    group: NETWORK,
  }),
  webui: WEBUI_FLAG,
  allowedHosts: list("Names of this server besides the machine's own and all addresses", {
    default: [],
    placeholder: "NAME,…",
    group: NETWORK,
  }),

  apiKey: list("Key that requests must have; may be given several times", {
    default: [],
    placeholder: "KEY",
    group: ACCESS,
  }),
  apiKeyFile: text("File of keys, one a line", { placeholder: "FILE", group: ACCESS }),
  accessLog: boolean("A line on standard error for each request", { default: true, group: ACCESS }),

  maxConcurrentRequests: integer("Requests in work and waiting; others are told to come again", {
    default: 64,
    min: 1,
    group: LIMITS,
  }),
  timeout: number("Seconds that a request may take to arrive", {
    default: 30,
    min: 1,
    group: LIMITS,
  }),
  drain: number("Seconds for answers in work after the server is told to stop", {
    default: 20,
    min: 0,
    group: LIMITS,
  }),
  ...RUNTIME_FLAGS,
} as const;

export type ServeFlags = Values<typeof SERVE_FLAGS>;
