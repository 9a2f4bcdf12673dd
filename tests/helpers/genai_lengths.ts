/** How exports of onnxruntime-genai's builder tell attention of lengths. */
import { MICROSOFT, type Node } from "../../src/graph/types.ts";

/** A node without attributes. */
export function plainNode(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
): Node {
  const domain = opType === "GroupQueryAttention" ? MICROSOFT : "";
  return { name: outputs[0], opType, domain, inputs, outputs, attributes: {} };
}

/** From `attention_mask` to `lengths`, its ones less one, and `total`, its columns. */
export const COUNTING = [
  plainNode("ReduceSum", ["attention_mask", "one"], ["sum"]),
  plainNode("Sub", ["sum", "one"], ["less"]),
  plainNode("Cast", ["less"], ["lengths"]),
  plainNode("Shape", ["attention_mask"], ["shape"]),
  plainNode("Gather", ["shape", "one"], ["columns"]),
  plainNode("Cast", ["columns"], ["total"]),
];
