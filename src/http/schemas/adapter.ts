/** Requests that change adapters: vLLM's and llama.cpp's. */
import * as v from "valibot";
import { integer, maybe, number } from "./values.ts";

const MOST_PARTS = 32;
const LARGEST_SCALE = 100;

/** Parts of a mix, as llama.cpp writes them. */
export const adapterScales = v.pipe(
  v.array(v.object({
    id: integer(0, 2 ** 31 - 1),
    scale: number(-LARGEST_SCALE, LARGEST_SCALE),
  })),
  v.maxLength(MOST_PARTS),
);

const adapterName = v.pipe(
  v.string(),
  v.regex(/^[\w][\w.:/-]{0,127}$/, "must be of letters, digits and . : / - _"),
);

export const loadAdapterRequest = v.object({
  lora_name: adapterName,
  lora_path: v.pipe(v.string(), v.minLength(1), v.maxLength(4096)),
  load_inplace: maybe(v.boolean()),
  expected_generation: maybe(integer(0, Number.MAX_SAFE_INTEGER)),
});

/** Rolls an adapter back, or forgets it. */
export const changeAdapterRequest = v.object({
  lora_name: adapterName,
  expected_generation: maybe(integer(0, Number.MAX_SAFE_INTEGER)),
});
