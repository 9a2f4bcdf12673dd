/** Removes nodes and initializers that the outputs do not need. */
import type { Graph, Node } from "../types.ts";

/** The nodes that `outputs` depend on, in their original order. */
export function neededNodes(nodes: readonly Node[], outputs: Iterable<string>): Node[] {
  const wanted = new Set(outputs);
  const kept: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((output) => output !== "" && wanted.has(output))) continue;
    kept.push(node);
    for (const input of readBy(node)) wanted.add(input);
  }
  return kept.reverse();
}

/** Names that a node reads: its inputs, and names of the outer scope that its subgraphs may read. */
export function readBy(node: Node): Iterable<string> {
  const captured = capturedBy(node);
  return captured.length === 0 ? node.inputs : [...node.inputs, ...captured];
}

const NOTHING: readonly string[] = [];

function capturedBy(node: Node): readonly string[] {
  let captured = NOTHING;
  for (const key in node.attributes) {
    const attribute = node.attributes[key];
    if (attribute.kind !== "graph") continue;
    const { nodes, outputs } = attribute.value;
    captured = [
      ...captured,
      ...nodes.flatMap((inner) => [...inner.inputs, ...capturedBy(inner)]),
      ...outputs.map(({ name }) => name),
    ];
  }
  return captured;
}

/**
 * A graph without dead nodes, unread initializers and unread inputs.
 *
 * @param keepInputs inputs to keep even if nothing reads them
 */
export function prune(graph: Graph, keepInputs: ReadonlySet<string> = new Set()): Graph {
  const outputs = graph.outputs.map((output) => output.name);
  const nodes = neededNodes(graph.nodes, outputs);
  const read = new Set(outputs);
  for (const node of nodes) {
    for (const input of readBy(node)) read.add(input);
  }
  return {
    ...graph,
    nodes,
    inputs: graph.inputs.filter((input) => read.has(input.name) || keepInputs.has(input.name)),
    initializers: new Map([...graph.initializers].filter(([name]) => read.has(name))),
  };
}
