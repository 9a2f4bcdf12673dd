/** Every case of the standard operators. */
import type { OpCase } from "../gradcheck.ts";
import { ATTENTION_CASES } from "./attention.ts";
import { ELEMENTWISE_CASES } from "./elementwise.ts";
import { IMAGE_CASES } from "./images.ts";
import { INDEXING_CASES } from "./indexing.ts";
import { LAYER_CASES } from "./layers.ts";
import { RECURRENT_CASES } from "./recurrent.ts";
import { REDUCTION_CASES } from "./reductions.ts";
import { SHAPE_CASES } from "./shapes.ts";

export const STANDARD_CASES: readonly OpCase[] = [
  ...ATTENTION_CASES,
  ...ELEMENTWISE_CASES,
  ...IMAGE_CASES,
  ...INDEXING_CASES,
  ...LAYER_CASES,
  ...RECURRENT_CASES,
  ...REDUCTION_CASES,
  ...SHAPE_CASES,
];
