/** Rounds constants once, where a graph rounds them each time that it runs. */
import { quantizeLinear, roundingOf } from "../quantize_linear.ts";
import { elementCount } from "../tensor.ts";
import type { Graph } from "../types.ts";
import { constantsOf } from "./constants.ts";

/**
 * The graph with the integers in the place of each QuantizeLinear over floats of the file: what it
 * computes is the same, and a weight takes a byte where it was one of float32.
 *
 * Floats that nothing else reads are left to `prune`.
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

/** Bytes of the integers that {@linkcode quantizeConstants} makes. */
export function quantizedConstantBytes(graph: Graph): number {
  const constants = constantsOf(graph);
  const rounded = graph.nodes.filter((node) =>
    roundingOf(node, (name) => constants.get(name)) !== undefined
  );
  return rounded.reduce((sum, { inputs }) => sum + elementCount(constants.get(inputs[0])!.dims), 0);
}
