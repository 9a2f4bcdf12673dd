/**
 * Removes the empty name that LayerNormalization may have instead of its bias. Both mean the same, but a
 * fusion of ONNX Runtime 1.30 looks up the value of that name and ends the process. No other operator in
 * the fixtures does that.
 */
import type { Graph, Model, Node } from "../types.ts";

/** The rewritten model; the same one if there is nothing to trim. */
export function trimInputs(model: Model): Model {
  const graph = trimmed(model.graph);
  return graph === model.graph ? model : { ...model, graph };
}

function trimmed(graph: Graph): Graph {
  const nodes = graph.nodes.map(trimmedNode);
  return nodes.every((node, i) => node === graph.nodes[i]) ? graph : { ...graph, nodes };
}

function trimmedNode(node: Node): Node {
  const inputs = node.opType === "LayerNormalization" ? trimmedNames(node.inputs) : node.inputs;
  const attributes = Object.entries(node.attributes).map(([name, attribute]) => {
    if (attribute.kind !== "graph") return [name, attribute] as const;
    const value = trimmed(attribute.value);
    return [name, value === attribute.value ? attribute : { ...attribute, value }] as const;
  });
  const sameGraphs = attributes.every(([name, attribute]) => attribute === node.attributes[name]);
  if (inputs.length === node.inputs.length && sameGraphs) return node;
  return {
    ...node,
    inputs,
    attributes: sameGraphs ? node.attributes : Object.fromEntries(attributes),
  };
}

/** Names up to the last non-empty one. */
function trimmedNames(names: readonly string[]): readonly string[] {
  return names.slice(0, names.findLastIndex((name) => name !== "") + 1);
}
