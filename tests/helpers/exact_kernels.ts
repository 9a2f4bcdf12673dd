import { int } from "../../src/graph/attributes.ts";
import type { Model } from "../../src/graph/types.ts";

/** The model with kernels that do not round activations. */
export function exactKernels(model: Model): Model {
  const nodes = model.graph.nodes.map((node) =>
    node.opType === "MatMulNBits"
      ? { ...node, attributes: { ...node.attributes, accuracy_level: int(1) } }
      : node
  );
  return { ...model, graph: { ...model.graph, nodes } };
}
