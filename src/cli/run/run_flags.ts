/** Flags of `graft run`: llama.cpp's names where it has them. */
import { boolean, integer, list, number, text, type Values } from "../flags.ts";
import { MODEL_TEXT } from "../models/model_text.ts";
import { INFERENCE_PARAMETERS } from "../../tasks/inference_model.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";

const INPUT = "Model and input";
const TEXT = "Generated text";
const SAMPLING = "Sampling";
const OUTPUT = "Classes, embeddings and output";

export const RUN_FLAGS = {
  model: text(MODEL_TEXT, {
    short: "m",
    placeholder: "DIR",
    group: INPUT,
  }),
  adapterPath: text("Adapter to run on the model without merging it", {
    placeholder: "DIR",
    aliases: ["lora"],
    group: INPUT,
  }),
  prompt: text("The text, instead of TEXT", { short: "p", group: INPUT }),
  lines: boolean("Take each line of standard input as a prompt of its own", {
    default: false,
    group: INPUT,
  }),
  system: text("System message of the chat", { aliases: ["systemPrompt"], group: INPUT }),
  raw: boolean("Go on from the text as it is, without the model's chat template", {
    default: false,
    group: INPUT,
  }),
  ctxSize: integer("Tokens of prompt and answer together; what the model takes if absent", {
    ...INFERENCE_PARAMETERS.ctxSize,
    short: "c",
    group: INPUT,
  }),

  nPredict: integer("Tokens to generate at most; -1 for as many as the context holds", {
    short: "n",
    aliases: ["predict", "maxTokens"],
    default: 512,
    min: -1,
    group: TEXT,
  }),
  stop: list("Text that ends the answer and is no part of it; may be given several times", {
    default: [],
    placeholder: "TEXT",
    verbatim: true,
    group: TEXT,
  }),

  temp: number("Temperature; 0 always takes the likeliest token", {
    aliases: ["temperature"],
    default: 0,
    min: 0,
    group: SAMPLING,
  }),
  topK: integer("Draw from this many of the likeliest tokens; 0 for all", {
    default: 0,
    min: 0,
    group: SAMPLING,
  }),
  topP: number("Draw from the likeliest tokens that have this probability together", {
    default: 1,
    group: SAMPLING,
  }),
  repeatPenalty: number("Makes tokens that came before less likely; 1 does not", {
    aliases: ["repetitionPenalty"],
    default: 1,
    group: SAMPLING,
  }),
  seed: integer("Seed of the draws; another each time if absent", {
    short: "s",
    min: 0,
    group: SAMPLING,
  }),

  topClasses: integer("Classes to show, likeliest first", { default: 1, min: 1, group: OUTPUT }),
  embedding: boolean("Print a text's vector, whatever else the model can do", {
    default: false,
    aliases: ["embeddings"],
    group: OUTPUT,
  }),
  json: boolean("Print one JSON object for each text", { default: false, group: OUTPUT }),
  ...RUNTIME_FLAGS,
} as const;

export type RunFlags = Values<typeof RUN_FLAGS>;
