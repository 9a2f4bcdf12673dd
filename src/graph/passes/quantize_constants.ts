/** Rounds constants once that a graph would round in every run. */
import { quantizeLinear, roundingOf } from "../quantize_linear.ts";
import { elementCount } from "../tensor.ts";
import type { Graph } from "../types.ts";
import { constantsOf } from "./constants.ts";

/**
 * The graph with integers instead of each QuantizeLinear over floats of the file: the results are the
 * same, and a weight takes one byte instead of four.
 *
 * `prune` removes floats that nothing else reads.
 */
export function quantizeConstants(graph: Graph): Graph {
  const constants = constantsOf(graph);
  const initializers = new Map(graph.initializers);
  const nodes = graph.nodes.filter((node) => {
    const rounding = roundingOf(node, (name) => constants.get(name));
    if (rounding === undefined) return true;
    initializers.set(node.outputs[0], quantizeLinear(constants.get(node.inputs[0])!, rounding));
    return false;
  });
  return nodes.length === graph.nodes.length ? graph : { ...graph, nodes, initializers };
}

/** Bytes of the integers that {@linkcode quantizeConstants} computes. */
export function quantizedConstantBytes(graph: Graph): number {
  const constants = constantsOf(graph);
  const rounded = graph.nodes.filter((node) =>
    roundingOf(node, (name) => constants.get(name)) !== undefined
  );
  return rounded.reduce((sum, { inputs }) => sum + elementCount(constants.get(inputs[0])!.dims), 0);
}
