/** Request of `/v1/completions`. */
import * as v from "valibot";
import { modelName, sampling, tokenIds } from "./common.ts";
import { refusedInCompletions } from "./refused.ts";
import { integer, maybe } from "./values.ts";

const MOST_PROMPTS = 64;

export const completionRequest = v.object({
  model: modelName,
  prompt: v.union([
    v.string(),
    tokenIds,
    v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(MOST_PROMPTS)),
    v.pipe(v.array(tokenIds), v.minLength(1), v.maxLength(MOST_PROMPTS)),
  ]),
  ...sampling,
  logprobs: maybe(integer(0, 20)),
  ...refusedInCompletions,
});

export type CompletionRequest = v.InferOutput<typeof completionRequest>;
