/** Graphs whose weights are inputs: their sessions hold no weights, and copy or fold none. */
import type { Tensor } from "../tensor.ts";
import type { Graph } from "../types.ts";

/** Smallest initializer that is a weight, rather than part of shape arithmetic. */
const WEIGHT_BYTES = 1024;

/** A graph with its large initializers as inputs, and the tensors to feed. */
export function feedWeights(
  graph: Graph,
): { readonly graph: Graph; readonly weights: ReadonlyMap<string, Tensor> } {
  const weights = new Map(
    [...graph.initializers].filter(([, { bytes }]) => bytes.byteLength >= WEIGHT_BYTES),
  );
  // Before IR version 4 every initializer was also an input.
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
