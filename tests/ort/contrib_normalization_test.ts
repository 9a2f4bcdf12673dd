import { assertThrows } from "@std/assert";
import { float, int } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int32, type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { UnsupportedError } from "../../src/ops/types.ts";
import {
  checkFused,
  constant,
  type FusedCase,
  lower,
  normal,
  type TestInput,
} from "../helpers/fused_check.ts";

const HIDDEN = 16;
const weights = (seed: number) => constant(normal([HIDDEN], seed));
const epsilon = { epsilon: float(1e-3) };

function skip(opType: string, change: Partial<FusedCase> = {}): FusedCase {
  return {
    opType,
    inputs: [normal([2, 3, HIDDEN], 1), normal([2, 3, HIDDEN], 2), weights(3)],
    wrt: [0, 1],
    ...change,
  };
}

const withInputs = (opType: string, ...more: readonly TestInput[]) =>
  skip(opType, { inputs: [...skip(opType).inputs, ...more] });

const RMS = "SkipSimplifiedLayerNormalization";
const LAYER = "SkipLayerNormalization";
const TESTS: Readonly<Record<string, FusedCase>> = {
  [RMS]: skip(RMS),
  [`${RMS} with epsilon`]: skip(RMS, { attributes: epsilon }),
  [`${RMS} with bias`]: withInputs(RMS, weights(5)),
  [`${RMS} and its sum`]: { ...withInputs(RMS, weights(5)), outputs: [0, 3] },
  [`${RMS} on 2 dimensions`]: skip(RMS, {
    inputs: [normal([5, HIDDEN], 1), normal([5, HIDDEN], 2), weights(3)],
  }),
  [LAYER]: withInputs(LAYER, weights(4)),
  [`${LAYER} with epsilon`]: { ...withInputs(LAYER, weights(4)), attributes: epsilon },
  [`${LAYER} without beta`]: skip(LAYER),
  [`${LAYER} with bias and its sum`]: {
    ...withInputs(LAYER, weights(4), weights(5)),
    outputs: [0, 3],
  },
  [`${LAYER} with bias and without beta`]: withInputs(LAYER, undefined, weights(5)),
  [`${LAYER} with a skip shared by the batch`]: skip(LAYER, {
    inputs: [normal([2, 3, HIDDEN], 1), normal([1, 3, HIDDEN], 2), weights(3), weights(4)],
  }),
  [`${LAYER} with a skip of 2 dimensions`]: skip(LAYER, {
    inputs: [normal([2, 3, HIDDEN], 1), normal([3, HIDDEN], 2), weights(3), weights(4)],
  }),
};

for (const [what, test] of Object.entries(TESTS)) Deno.test(what, () => checkFused(test));

for (const opType of [RMS, LAYER]) {
  Deno.test(`${opType} on no tokens gives none`, async () => {
    const nothing = float32([2, 0, HIDDEN], []);
    const inputs = [nothing, nothing, weights(3)];
    await checkFused({ ...skip(opType), inputs, wrt: [], expected: [nothing] });
  });

  Deno.test(`${opType} refuses its statistics and unknown attributes by name`, () => {
    const refused = (change: Partial<FusedCase>, message: string) =>
      assertThrows(
        () => lower(new GraphBuilder(inferTraining), skip(opType, change)),
        UnsupportedError,
        message,
      );
    refused({ outputs: [0, 1] }, `output "mean" of com.microsoft.${opType}`);
    refused({ outputs: [0, 2] }, 'output "inv_std_var"');
    refused({ attributes: { ...epsilon, axis: int(1) } }, 'attribute "axis" = 1');
  });
}

const IDS = int32([2, 4], [1, 5, 2, 0, 3, 3, 6, 4]);

function embed(options: {
  readonly segments?: boolean;
  readonly mask?: Tensor;
  readonly positions?: Tensor;
  readonly change?: Partial<FusedCase>;
}): FusedCase {
  const segments = options.segments ?? true;
  return {
    opType: "EmbedLayerNormalization",
    attributes: { ...epsilon, mask_index_type: int(options.change?.outputs === undefined ? 0 : 1) },
    inputs: [
      IDS,
      segments ? int32([2, 4], [0, 0, 1, 1, 0, 1, 1, 1]) : undefined,
      normal([7, HIDDEN], 1),
      normal([9, HIDDEN], 2),
      segments ? normal([2, HIDDEN], 3) : undefined,
      weights(4),
      weights(5),
      options.mask,
      options.positions,
    ],
    wrt: [2, 3, ...(segments ? [4] : [])],
    ...options.change,
  };
}

const EMBEDDINGS: Readonly<Record<string, FusedCase>> = {
  "words, positions and segments": embed({}),
  "no segments": embed({ segments: false }),
  "the sum": embed({ change: { outputs: [0, 1, 2] } }),
  "a mask": embed({
    mask: int32([2, 4], [1, 1, 1, 1, 1, 1, 0, 0]),
    change: { outputs: [0, 1] },
  }),
  "a mask with holes": embed({
    mask: int32([2, 4], [0, 1, 1, 0, 1, 0, 1, 0]),
    change: { outputs: [0, 1] },
  }),
  "position ids": embed({ positions: int32([2, 4], [8, 1, 2, 3, 0, 1, 7, 3]) }),
  "position ids shared by the batch": embed({ positions: int32([1, 4], [8, 1, 2, 3]) }),
};

for (const [what, test] of Object.entries(EMBEDDINGS)) {
  Deno.test(`EmbedLayerNormalization: ${what}`, () => checkFused(test));
}

/** Any bytes. */
const bytes = (dtype: "uint8" | "int8", dims: readonly number[], seed: number): TestInput => {
  const values = toNumbers(normal(dims, seed)) as Float32Array;
  return constant(tensor(dtype, dims, Uint8Array.from(values, (value) => 60 * value + 128)));
};

/** The quantised layer: a scale and a zero point of each table and of gamma and beta. */
function quantisedEmbed(options: {
  readonly dtype?: "uint8" | "int8";
  readonly segments?: boolean;
  readonly scalars?: readonly number[];
  readonly mask?: Tensor;
}): FusedCase {
  const { dtype = "uint8", segments = true, scalars = [], mask } = options;
  const sizes = [[7, HIDDEN], [9, HIDDEN], [2, HIDDEN], [HIDDEN], [HIDDEN]];
  const ofEach = (input: (dims: readonly number[], i: number) => TestInput) =>
    sizes.map((dims, i) => i === 2 && !segments ? undefined : input(dims, i));
  return {
    opType: "QEmbedLayerNormalization",
    attributes: epsilon,
    inputs: [
      IDS,
      segments ? int32([2, 4], [0, 0, 1, 1, 0, 1, 1, 1]) : undefined,
      ...ofEach((dims, i) => bytes(dtype, dims, 11 + i)),
      mask,
      ...ofEach((_, i) => constant(float32(scalars, [0.01 * (i + 1)]))),
      ...ofEach((_, i) =>
        constant(tensor(dtype, scalars, Uint8Array.of(dtype === "int8" ? i : 120 + i)))
      ),
    ],
    outputs: [0, 1],
  };
}

const QUANTISED_EMBEDDINGS: Readonly<Record<string, FusedCase>> = {
  "words, positions and segments": quantisedEmbed({}),
  "signed, no segments": quantisedEmbed({ dtype: "int8", segments: false }),
  "scales of one dimension, a mask": quantisedEmbed({
    scalars: [1],
    mask: int32([2, 4], [1, 1, 1, 1, 1, 1, 0, 0]),
  }),
};

for (const [what, test] of Object.entries(QUANTISED_EMBEDDINGS)) {
  Deno.test(`QEmbedLayerNormalization: ${what}`, () => checkFused(test));
}
