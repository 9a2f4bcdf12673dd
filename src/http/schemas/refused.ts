/**
 * Parameters of OpenAI, llama.cpp and vLLM that change answers and that graft does not have. A request may
 * have them with the value that asks for nothing; others are refused by name, because an answer without
 * them is not the one that was asked for. Parameters that change no answer are not listed: they are
 * ignored.
 */
import * as v from "valibot";
import { maybe } from "./values.ts";

/** A parameter that graft refuses unless it has a value that asks for nothing. */
export const unsupported = (...nothing: readonly v.GenericSchema[]) =>
  maybe(v.pipe(
    v.unknown(),
    v.check((value) => nothing.some((schema) => v.is(schema, value)), "graft does not have this"),
  ));

const empty = v.pipe(v.array(v.unknown()), v.maxLength(0));
const noCall = v.picklist(["none", "auto"]);

/** Of every request that generates text. */
export const refusedSampling = {
  min_p: unsupported(v.literal(0)),
  typical_p: unsupported(v.literal(1)),
  repeat_penalty: unsupported(v.literal(1)),
  min_tokens: unsupported(v.literal(0)),
  ignore_eos: unsupported(v.literal(false)),
  stop_token_ids: unsupported(empty),
  grammar: unsupported(v.literal("")),
  guided_json: unsupported(),
  guided_regex: unsupported(),
  guided_choice: unsupported(),
  guided_grammar: unsupported(),
};

/** Of chats. */
export const refusedInChats = {
  tools: unsupported(empty),
  tool_choice: unsupported(noCall),
  functions: unsupported(empty),
  function_call: unsupported(noCall),
  modalities: unsupported(v.strictTuple([v.literal("text")])),
  audio: unsupported(),
  web_search_options: unsupported(),
  verbosity: unsupported(v.literal("medium")),
};

/** Of completions. */
export const refusedInCompletions = {
  echo: unsupported(v.literal(false)),
  suffix: unsupported(v.literal("")),
  best_of: unsupported(v.literal(1)),
};

/** Of embeddings. */
export const refusedInEmbeddings = { dimensions: unsupported() };
