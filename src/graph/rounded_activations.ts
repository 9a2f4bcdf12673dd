/** Which graphs round activations when they run. */
import { intAttribute } from "./attributes.ts";
import { constantValues } from "./passes/constants.ts";
import type { Graph } from "./types.ts";

/** Whether scales of the file round activations to integers. */
export function roundsByFile(graph: Graph): boolean {
  const constants = constantValues(graph);
  return graph.nodes.some(({ opType, inputs }) =>
    opType === "QuantizeLinear" && !constants.has(inputs[0])
  );
}

/** Whether activations are rounded to 8-bit integers by scales that are computed from them. */
export function roundsAsItRuns(graph: Graph): boolean {
  return graph.nodes.some((node) =>
    node.opType === "DynamicQuantizeLinear" || node.opType === "DynamicQuantizeMatMul" ||
    (node.opType === "MatMulNBits" && intAttribute(node, "accuracy_level", 0) === 4)
  );
}
