/** Subgraphs of a graph, and all its constant tensors. */
import type { Tensor } from "./tensor.ts";
import type { Graph } from "./types.ts";

/** Yields a graph and all its subgraphs: branches and loop bodies, at every depth. */
export function* graphsWithin(graph: Graph): Generator<Graph> {
  yield graph;
  for (const { attributes } of graph.nodes) {
    for (const attribute of Object.values(attributes)) {
      if (attribute.kind === "graph") yield* graphsWithin(attribute.value);
    }
  }
}

/** Constant tensors of a graph by value name: its initializers, and the values of Constant nodes. */
export function tensorsOf(graph: Graph): ReadonlyMap<string, Tensor> {
  const held = graph.nodes.flatMap(({ opType, domain, outputs, attributes: { value } }) =>
    opType === "Constant" && domain === "" && value?.kind === "tensor"
      ? [[outputs[0], value.value] as const]
      : []
  );
  return held.length === 0 ? graph.initializers : new Map([...graph.initializers, ...held]);
}
