/** com.microsoft.MatMulBnb4: a linear layer whose frozen weights are bitsandbytes' NF4 or FP4. */
import { intAttribute } from "../../graph/attributes.ts";
import { codebookOf } from "../../graph/codebook.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { dequantizeCodebook } from "../codebook.ts";
import { frozenLinear } from "../linear.ts";
import { rowsOfFirst } from "../rows.ts";
import type { OpRule } from "../types.ts";
import { inferPackedLinear, packedSizes } from "./packed_linear.ts";
import { castTo } from "../cast.ts";
import { namedInputs, refuse, requireAttribute, required, shared } from "./support.ts";

/** `training_mode` chooses between kernels that compute the same. */

export const MatMulBnb4: OpRule = {
  opType: "MatMulBnb4",
  domain: MICROSOFT,
  since: 1,
  attributes: ["K", "N", "block_size", "quant_type", "training_mode", "transB"],
  inputs: "3",
  outputs: "1",
  remark: "weights in whole blocks",
  traits: { kind: "packed product", rows: rowsOfFirst },

  infer: inferPackedLinear,

  lower(b, node) {
    requireAttribute(node, "transB", 1);
    const { A, B, absmax } = namedInputs(node, ["A", "B", "absmax"]);
    const sizes = packedSizes(node);
    const { rows, columns, blockSize } = sizes;
    const codebook = codebookOf(node);
    if (codebook === undefined) {
      refuse(node, `attribute "quant_type" = ${intAttribute(node, "quant_type", undefined)}`);
    }
    if (blockSize % 2 !== 0 || rows * columns % blockSize !== 0) {
      refuse(node, `blocks of ${blockSize} that ${rows}x${columns} weights do not fill`);
    }
    const x = required(node, "A", A);
    const stored = {
      codebook,
      data: required(node, "B", B),
      scales: required(node, "absmax", absmax),
      ...sizes,
    };
    const weight = shared(
      b,
      `dequantized ${JSON.stringify(stored)}`,
      () => dequantizeCodebook(b, stored),
    );
    return [frozenLinear(b, x, castTo(b, weight, b.known(x).dtype))];
  },
};
