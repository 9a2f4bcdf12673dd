/** Graphs within graphs, and tensors wherever a graph holds them. */
import type { Tensor } from "./tensor.ts";
import type { Graph } from "./types.ts";

/** A graph, and all that its nodes have as attributes: branches and loop bodies, at every depth. */
export function* graphsWithin(graph: Graph): Generator<Graph> {
  yield graph;
  for (const { attributes } of graph.nodes) {
    for (const attribute of Object.values(attributes)) {
      if (attribute.kind === "graph") yield* graphsWithin(attribute.value);
    }
  }
}

/** Tensors that stand in a graph, by value name: its initializers, and what Constant nodes hold. */
export function tensorsOf(graph: Graph): ReadonlyMap<string, Tensor> {
  const held = graph.nodes.flatMap(({ opType, domain, outputs, attributes: { value } }) =>
    opType === "Constant" && domain === "" && value?.kind === "tensor"
      ? [[outputs[0], value.value] as const]
      : []
  );
  return held.length === 0 ? graph.initializers : new Map([...graph.initializers, ...held]);
}
