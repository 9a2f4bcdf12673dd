/** Requests of `/v1/embeddings` and `/v1/classify`. */
import * as v from "valibot";
import { modelName, MOST_INPUTS } from "./common.ts";
import { refusedInEmbeddings } from "./refused.ts";
import { maybe } from "./values.ts";

const texts = v.union([
  v.string(),
  v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(MOST_INPUTS)),
]);

const encoderRequest = {
  model: modelName,
  input: texts,
  /** Whether the end of a text that is too long is left out, instead of an error. */
  truncate: maybe(v.boolean()),
};

export const embeddingRequest = v.object({
  ...encoderRequest,
  encoding_format: maybe(v.picklist(["float", "base64"])),
  ...refusedInEmbeddings,
});

export const classificationRequest = v.object({
  ...encoderRequest,
  /** Classes to return, the likeliest first; absent: all. */
  top_n: maybe(v.pipe(v.number(), v.integer(), v.minValue(1))),
});
