/** Products of two matrices in lowered graphs. */
import { floatAttribute, intAttribute } from "../graph/attributes.ts";
import type { Node } from "../graph/types.ts";

/** A product of two operands, and what is added to it. */
export interface PlainProduct {
  readonly product: Node;
  /** The third operand of a Gemm. */
  readonly bias?: string;
}

/**
 * The operands of a node that computes only A·B (+ C), with B as it is or transposed; `undefined` for any
 * other node.
 */
export function plainProduct(node: Node): PlainProduct | undefined {
  if (node.domain !== "") return undefined;
  if (node.opType === "MatMul") return { product: node };
  const isPlain = node.opType === "Gemm" && intAttribute(node, "transA", 0) === 0 &&
    ["alpha", "beta"].every((name) => floatAttribute(node, name, 1) === 1);
  return isPlain ? { product: node, bias: node.inputs[2] || undefined } : undefined;
}
