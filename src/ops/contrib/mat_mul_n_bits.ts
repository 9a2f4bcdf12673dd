/**
 * com.microsoft.MatMulNBits: a linear layer with block-wise quantised frozen weights.
 *
 * Training computes with exactly the dequantised weights and float activations; `accuracy_level`
 * allows kernels to round activations and therefore does not occur in the lowered form.
 */
import { intAttribute } from "../../graph/attributes.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { dequantizeBlocks } from "../dequantize.ts";
import { frozenLinear } from "../linear.ts";
import { rowsOfFirst } from "../rows.ts";
import type { OpRule } from "../types.ts";
import { inferPackedLinear, packedSizes } from "./packed_linear.ts";
import { castTo } from "../cast.ts";
import { namedInputs, refuse, requireAttribute, required, shared } from "./support.ts";

export const MatMulNBits: OpRule = {
  opType: "MatMulNBits",
  domain: MICROSOFT,
  since: 1,
  attributes: ["K", "N", "bits", "block_size", "accuracy_level", "weight_prepacked"],
  inputs: "3..6",
  outputs: "1",
  remark: "4 and 8 bits, without group indices",
  traits: { kind: "packed product", rows: rowsOfFirst },

  infer: inferPackedLinear,

  lower(b, node, { dequantForm }) {
    requireAttribute(node, "weight_prepacked", 0);
    const { A, B, scales, zero_points, bias } = namedInputs(
      node,
      ["A", "B", "scales", "zero_points", "!g_idx", "bias"],
    );
    const bits = intAttribute(node, "bits", 4);
    if (bits !== 4 && bits !== 8) refuse(node, `attribute "bits" = ${bits}`);
    const data = required(node, "B", B);
    if (b.dims(data).includes(0)) refuse(node, 'an empty input "B"');
    const x = required(node, "A", A);
    const stored = {
      data,
      scales: required(node, "scales", scales),
      zeroPoints: zero_points,
      ...packedSizes(node),
      bits,
    } as const;
    // Two products with one weight, as DoRA has, need its floats once.
    const weight = shared(
      b,
      `dequantized ${JSON.stringify(stored)}`,
      () => dequantizeBlocks(b, stored, dequantForm),
    );
    return [frozenLinear(b, x, castTo(b, weight, b.known(x).dtype), bias)];
  },
};
