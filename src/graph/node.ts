/** Creates nodes. */
import type { Attributes } from "./builder.ts";
import type { Node } from "./types.ts";

/** An ONNX operator with one output, after which the node is named. */
export function node(
  opType: string,
  inputs: readonly string[],
  output: string,
  attributes: Attributes = {},
): Node {
  return { name: output, opType, domain: "", inputs, outputs: [output], attributes };
}
