/** Graphs whose weights are fed: a session of one holds none, and none is copied or folded. */
import type { Tensor } from "../tensor.ts";
import type { Graph } from "../types.ts";

/** From this size on an initializer is a weight and no part of the computation's shape. */
const WEIGHT_BYTES = 1024;

/** A graph with large initializers as inputs, and what to feed there. */
export function feedWeights(
  graph: Graph,
): { readonly graph: Graph; readonly weights: ReadonlyMap<string, Tensor> } {
  const weights = new Map(
    [...graph.initializers].filter(([, { bytes }]) => bytes.byteLength >= WEIGHT_BYTES),
  );
  // Before IR version 4 every initializer was an input too.
  const declared = new Set(graph.inputs.map(({ name }) => name));
  const inputs = [...weights].filter(([name]) => !declared.has(name))
    .map(([name, { dtype, dims }]) => ({ name, type: { dtype, shape: dims } }));
  return {
    graph: {
      ...graph,
      inputs: [...graph.inputs, ...inputs],
      initializers: new Map([...graph.initializers].filter(([name]) => !weights.has(name))),
    },
    weights,
  };
}
