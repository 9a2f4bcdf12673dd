/** Models as exporters write them that hold weights in Constant nodes. */
import { tensorValue } from "../../src/graph/attributes.ts";
import type { Model } from "../../src/graph/types.ts";

/** The model with every initializer as a Constant node. */
export function withConstantNodes(model: Model): Model {
  const { graph } = model;
  const constants = [...graph.initializers].map(([name, tensor]) => ({
    name: `constant ${name}`,
    opType: "Constant",
    domain: "",
    inputs: [],
    outputs: [name],
    attributes: { value: tensorValue(tensor) },
  }));
  return {
    ...model,
    graph: { ...graph, initializers: new Map(), nodes: [...constants, ...graph.nodes] },
  };
}
