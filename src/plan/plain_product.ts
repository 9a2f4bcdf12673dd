/** Products of two matrices, as lowered graphs have them. */
import { floatAttribute, intAttribute } from "../graph/attributes.ts";
import type { Node } from "../graph/types.ts";

/** A product of two operands, and what is added to it. */
export interface PlainProduct {
  readonly product: Node;
  /** A Gemm's third operand. */
  readonly bias?: string;
}

/** A node that is A·B (+ C), B as it is or transposed, and nothing else; `undefined` for any other. */
export function plainProduct(node: Node): PlainProduct | undefined {
  if (node.domain !== "") return undefined;
  if (node.opType === "MatMul") return { product: node };
  const isPlain = node.opType === "Gemm" && intAttribute(node, "transA", 0) === 0 &&
    ["alpha", "beta"].every((name) => floatAttribute(node, name, 1) === 1);
  return isPlain ? { product: node, bias: node.inputs[2] || undefined } : undefined;
}
