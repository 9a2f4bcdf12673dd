/** Request of `/v1/chat/completions`. */
import * as v from "valibot";
import { modelName, sampling } from "./common.ts";
import { refusedInChats } from "./refused.ts";
import { integer, maybe } from "./values.ts";

const MOST_MESSAGES = 4096;

const textPart = v.object({ type: v.literal("text"), text: v.string() });

const message = v.looseObject({
  role: v.picklist(["system", "developer", "user", "assistant", "tool"]),
  content: v.optional(v.nullable(v.union([v.string(), v.array(textPart)]))),
});

export const chatRequest = v.object({
  model: modelName,
  messages: v.pipe(v.array(message), v.minLength(1), v.maxLength(MOST_MESSAGES)),
  ...sampling,
  max_completion_tokens: maybe(integer(1, 2 ** 31 - 1)),
  logprobs: maybe(v.boolean()),
  top_logprobs: maybe(integer(0, 20)),
  response_format: maybe(v.variant("type", [
    v.object({ type: v.literal("text") }),
    v.object({ type: v.literal("json_object") }),
    v.object({
      type: v.literal("json_schema"),
      json_schema: v.looseObject({ schema: v.record(v.string(), v.unknown()) }),
    }),
  ])),
  ...refusedInChats,
});

export type ChatRequest = v.InferOutput<typeof chatRequest>;
