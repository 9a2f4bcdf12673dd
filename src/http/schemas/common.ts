/** Parts of several requests. */
import * as v from "valibot";
import { adapterScales } from "./adapter.ts";
import { refusedSampling } from "./refused.ts";
import { integer, maybe, number } from "./values.ts";

/** Most answers to one prompt. */
const MOST_ANSWERS = 8;
/** Most texts of one request. */
export const MOST_INPUTS = 2048;
const MOST_STOPS = 16;
const MOST_BIASES = 1024;
const LONGEST_NAME = 256;

/** Name of the model; absent: the one that is served. */
export const modelName = v.optional(v.pipe(v.string(), v.maxLength(LONGEST_NAME)));

/** Token ids. */
export const tokenIds = v.pipe(
  v.array(integer(0, 2 ** 31 - 1)),
  v.minLength(1),
);

const stopText = v.pipe(v.string(), v.minLength(1), v.maxLength(1024));

/** How answers are generated: OpenAI's names, and llama.cpp's and vLLM's for what it has none for. */
export const sampling = {
  max_tokens: maybe(integer(1, 2 ** 31 - 1)),
  temperature: maybe(number(0, 2)),
  top_p: maybe(number(0, 1)),
  top_k: maybe(integer(-1, 2 ** 31 - 1)),
  frequency_penalty: maybe(number(-2, 2)),
  presence_penalty: maybe(number(-2, 2)),
  repetition_penalty: maybe(v.pipe(v.number(), v.gtValue(0), v.maxValue(10))),
  logit_bias: maybe(v.pipe(
    v.record(v.pipe(v.string(), v.regex(/^\d{1,9}$/, "must be a token id")), number(-100, 100)),
    v.maxEntries(MOST_BIASES),
  )),
  stop: maybe(v.union([stopText, v.pipe(v.array(stopText), v.maxLength(MOST_STOPS))])),
  seed: maybe(integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)),
  n: maybe(integer(1, MOST_ANSWERS)),
  lora: maybe(adapterScales),
  stream: maybe(v.boolean()),
  stream_options: maybe(v.object({ include_usage: maybe(v.boolean()) })),
  ...refusedSampling,
};

/** The sampling parameters of a request. */
export type Sampling = v.InferOutput<v.ObjectSchema<typeof sampling, undefined>>;
