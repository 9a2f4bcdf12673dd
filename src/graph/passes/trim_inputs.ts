/**
 * Nodes without the empty names that stand for optional inputs at their end. Both mean the same; fusions
 * of ONNX Runtime look for the value of that name and end the process (LayerNormalization without a bias,
 * release 1.30).
 */
import type { Graph, Model, Node } from "../types.ts";

/** The model in that form; the same one where nothing is to be trimmed. */
export function trimInputs(model: Model): Model {
  const graph = trimmed(model.graph);
  return graph === model.graph ? model : { ...model, graph };
}

function trimmed(graph: Graph): Graph {
  const nodes = graph.nodes.map(trimmedNode);
  return nodes.every((node, i) => node === graph.nodes[i]) ? graph : { ...graph, nodes };
}

function trimmedNode(node: Node): Node {
  const count = node.inputs.findLastIndex((name) => name !== "") + 1;
  const attributes = Object.entries(node.attributes).map(([name, attribute]) => {
    if (attribute.kind !== "graph") return [name, attribute] as const;
    const value = trimmed(attribute.value);
    return [name, value === attribute.value ? attribute : { ...attribute, value }] as const;
  });
  const sameGraphs = attributes.every(([name, attribute]) => attribute === node.attributes[name]);
  if (count === node.inputs.length && sameGraphs) return node;
  return {
    ...node,
    inputs: node.inputs.slice(0, count),
    attributes: sameGraphs ? node.attributes : Object.fromEntries(attributes),
  };
}
