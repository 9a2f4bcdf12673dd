/** Flags of `graft serve`: llama-server's names, each with a variable of the environment. */
import { INFERENCE_PARAMETERS } from "../../tasks/inference_model.ts";
import { ADAPTER_WAYS } from "../../http/named_adapter.ts";
import { boolean, integer, list, number, text, type Values } from "../flags.ts";
import { MODEL_TEXT } from "../models/model_text.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";

const MODEL = "Model";
const ADAPTERS = "Adapters that requests choose";
const TRAINING = "Fine-tuning by requests";
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

  loraModules: list("Adapters to load, as models under these names", {
    default: [],
    placeholder: "NAME=DIR,…",
    group: ADAPTERS,
  }),
  loraDir: text("Folder that /v1/load_lora_adapter may load adapters from; none if absent", {
    placeholder: "DIR",
    group: ADAPTERS,
  }),
  mergedDir: text("Folder for adapters that are merged in the background; none are if absent", {
    placeholder: "DIR",
    group: ADAPTERS,
  }),
  loraWay: text(
    "How adapters answer with --merged-dir: bound as inputs of the base; merged once a model of " +
      "their own is made; auto: bound at first, then whichever is faster",
    { choices: ADAPTER_WAYS, default: "auto", group: ADAPTERS },
  ),
  maxMerged: integer("Merged models at a time, each in its own memory", {
    default: 1,
    min: 1,
    group: ADAPTERS,
  }),
  loraTargetModules: list(
    "Modules whose adapters can be switched; those of --lora-modules, or all, if absent",
    { default: [], placeholder: "NAME,…", group: ADAPTERS },
  ),
  maxLoraRank: integer("Largest rank of an adapter", { default: 64, min: 1, group: ADAPTERS }),
  maxLoras: integer("Adapters that may be loaded at a time", {
    default: 16,
    min: 1,
    group: ADAPTERS,
  }),

  jobsDir: text("Folder for uploaded files and fine-tuning jobs; none are taken if absent", {
    placeholder: "DIR",
    group: TRAINING,
  }),
  jobMemoryBudget: text("Memory that a fine-tuning job may take in all, e.g. 800M or 2G", {
    placeholder: "SIZE",
    group: TRAINING,
  }),
  maxUpload: integer("Largest uploaded file, in MB", {
    default: 64,
    min: 1,
    max: 1024,
    group: TRAINING,
  }),

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
  webui: boolean("A page for people at /, with no data of its own", {
    default: true,
    group: NETWORK,
  }),
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
