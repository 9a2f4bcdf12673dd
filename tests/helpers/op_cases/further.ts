/** Cases of operators that are no standard ones, or that no gradient passes. */
import { int } from "../../../src/graph/attributes.ts";
import { elementCount } from "../../../src/graph/tensor.ts";
import { GRAFT, MICROSOFT } from "../../../src/graph/types.ts";
import type { CaseInput, OpCase } from "../gradcheck.ts";
import { f, fc, ic, is, typed } from "./inputs.ts";

const codes = (...dims: number[]): CaseInput => ({
  dtype: "uint8",
  dims,
  values: Array.from({ length: elementCount(dims) }, (_, i) => (i * 37 + 11) % 251),
  constant: true,
});

const TWO: CaseInput = { dtype: "uint8", dims: [1], values: [2], constant: true };

/** Operators that are no standard ones, what no gradient passes, and rows of what has none elsewhere. */
export const FURTHER_CASES: readonly OpCase[] = [
  ...["Gelu", "QuickGelu", "FastGelu"].map((opType): OpCase => (
    { title: "of rows", domain: MICROSOFT, opType, inputs: [f([3, 4])] }
  )),
  { title: "of rows", domain: MICROSOFT, opType: "BiasGelu", inputs: [f([3, 4]), fc([4])] },
  {
    title: "of rows",
    domain: MICROSOFT,
    opType: "BiasAdd",
    inputs: [f([2, 3, 4]), fc([4]), f([2, 3, 4])],
  },
  {
    title: "of rows",
    domain: MICROSOFT,
    opType: "MatMulNBits",
    inputs: [f([3, 32]), codes(4, 1, 16), fc([4])],
    attributes: { K: int(32), N: int(4), bits: int(4), block_size: int(32) },
  },
  {
    title: "of rows",
    domain: MICROSOFT,
    opType: "MatMulBnb4",
    inputs: [f([3, 32]), codes(64), fc([4])],
    attributes: { K: int(32), N: int(4), block_size: int(32), quant_type: int(1) },
  },
  { title: "the last axis", opType: "ReduceProd", inputs: [f([3, 4]), ic(-1)] },
  { title: "the last axis", opType: "Slice", inputs: [f([3, 4]), ic(1), ic(3), ic(1)] },
  { title: "bits", opType: "BitwiseAnd", inputs: [typed("uint8", [2, 2], [7, 9, 3, 6]), TWO] },
  {
    title: "bits",
    opType: "BitShift",
    inputs: [typed("uint8", [2, 2], [7, 9, 3, 6]), TWO],
    attributes: { direction: { kind: "string", value: "RIGHT" } },
  },
  { title: "of rows", domain: GRAFT, opType: "SwiGLU", inputs: [f([3, 4]), f([3, 4])] },
  {
    title: "of rows",
    domain: GRAFT,
    opType: "SwiGLUAndFactors",
    inputs: [f([3, 4]), f([3, 4])],
    outputs: 3,
  },
  { title: "of rows", domain: GRAFT, opType: "StopGradient", inputs: [f([3, 4])] },
  { title: "of rows", domain: GRAFT, opType: "GeluAndSlope", inputs: [f([3, 4])], outputs: 2 },
  {
    title: "of rows",
    domain: GRAFT,
    opType: "Rotation",
    inputs: [f([3, 8])],
    attributes: { block: int(4) },
  },
  {
    title: "of rows",
    domain: GRAFT,
    opType: "QuantizedLinear",
    inputs: [f([3, 32]), codes(32, 4), fc([4])],
  },
  {
    title: "of rows",
    domain: GRAFT,
    opType: "DropoutMask",
    inputs: [f([3, 8]), is(5), is(7)],
    attributes: { probability: { kind: "float", value: 0.5 } },
  },
];
