/** The DequantizeLinear that gives a product its weight. */
import type { Attribute, Node } from "./types.ts";

/** First operator set with blocks of int4, and the file format's version that came with it. */
export const INT4_BLOCKS_SINCE = { opset: 21, irVersion: 10 };

/**
 * A node before `product`, named after it, whose output is named after the product's.
 *
 * @param inputs names of codes and scales
 */
export function dequantizeNode(
  product: Node,
  inputs: readonly [codes: string, scales: string],
  attributes: Readonly<Record<string, Attribute>>,
): Node {
  return {
    name: `${product.name}.DequantizeLinear`,
    opType: "DequantizeLinear",
    domain: "",
    inputs,
    outputs: [`${product.outputs[0]}.weight`],
    attributes,
  };
}
