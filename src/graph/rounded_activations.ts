/** Determines whether graphs round activations when they run. */
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

/** Whether nodes of the graph round activations to 8-bit integers by scales that are computed from them. */
function roundsBySizes(graph: Graph): boolean {
  return graph.nodes.some(({ opType }) =>
    opType === "DynamicQuantizeLinear" || opType === "DynamicQuantizeMatMul"
  );
}

/** Whether the graph permits kernels to round activations to 8-bit integers, in their own way. */
export function allowsRounding(graph: Graph): boolean {
  return graph.nodes.some((node) =>
    node.opType === "MatMulNBits" && intAttribute(node, "accuracy_level", 0) === 4
  );
}

/** Whether activations are rounded to 8-bit integers by scales that are computed from them. */
export function roundsAsItRuns(graph: Graph): boolean {
  return roundsBySizes(graph) || allowsRounding(graph);
}

/** Whether the graph itself rounds activations to integers. */
export function demandsRounding(graph: Graph): boolean {
  return roundsByFile(graph) || roundsBySizes(graph);
}
