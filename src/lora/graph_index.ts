/** An index of a graph: producers, readers and constants. */
import type { Tensor } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";

/** One graph, indexed by value name. */
export interface GraphIndex {
  readonly graph: Graph;
  /** The node that computes a value; `undefined` for inputs and initializers. */
  producer(value: string): Node | undefined;
  /** Nodes that read a value, in order; a node that reads it twice is listed twice. */
  consumers(value: string): readonly Node[];
  /** Whether a value is one of the graph's outputs. */
  isOutput(value: string): boolean;
  /** Contents of an initializer or of a `Constant` node's output. */
  constant(value: string): Tensor | undefined;
}

/** Indexes a graph; subgraphs of control-flow operators count as readers of the values that they capture. */
export function indexGraph(graph: Graph): GraphIndex {
  const producers = new Map<string, Node>();
  const consumers = new Map<string, Node[]>();
  const read = (value: string, node: Node) => {
    const list = consumers.get(value);
    if (list === undefined) consumers.set(value, [node]);
    else list.push(node);
  };
  for (const node of graph.nodes) {
    for (const output of node.outputs) if (output !== "") producers.set(output, node);
    for (const input of node.inputs) if (input !== "") read(input, node);
    for (const captured of capturedBy(node)) read(captured, node);
  }
  const outputs = new Set(graph.outputs.map((output) => output.name));
  return {
    graph,
    producer: (value) => producers.get(value),
    consumers: (value) => consumers.get(value) ?? [],
    isOutput: (value) => outputs.has(value),
    constant(value) {
      const found = graph.initializers.get(value);
      if (found !== undefined) return found;
      const node = producers.get(value);
      if (node?.opType !== "Constant" || node.domain !== "") return undefined;
      const attribute = node.attributes.value;
      return attribute?.kind === "tensor" ? attribute.value : undefined;
    },
  };
}

/** The nodes that prepare a weight: each one computes the first input of the one before. */
export function* preparing(index: GraphIndex, value: string): Generator<Node> {
  for (
    let node = index.producer(value);
    node !== undefined;
    node = index.producer(node.inputs[0])
  ) yield node;
}

/** The only reader of `value` if it is an `opType` and the value is not a graph output. */
export function onlyReader(index: GraphIndex, value: string, opType: string): Node | undefined {
  const readers = index.consumers(value);
  const [reader] = readers;
  if (readers.length !== 1 || index.isOutput(value)) return undefined;
  return reader.opType === opType && reader.domain === "" ? reader : undefined;
}

/** Outer values that a node's subgraphs read. */
function capturedBy(node: Node): readonly string[] {
  const captured: string[] = [];
  for (const attribute of Object.values(node.attributes)) {
    if (attribute.kind !== "graph") continue;
    const inner = attribute.value;
    const own = new Set([
      ...inner.inputs.map((input) => input.name),
      ...inner.initializers.keys(),
      ...inner.nodes.flatMap((n) => n.outputs),
    ]);
    for (const n of inner.nodes) {
      for (const value of [...n.inputs, ...capturedBy(n)]) {
        if (value !== "" && !own.has(value)) captured.push(value);
      }
    }
    for (const output of inner.outputs) if (!own.has(output.name)) captured.push(output.name);
  }
  return captured;
}
