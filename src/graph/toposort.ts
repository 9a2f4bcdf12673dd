/** Topological order of nodes. */
import { type Graph, type Node, operatorName } from "./types.ts";

/** Nodes depend on each other in a cycle; the message names them. */
export class CycleError extends Error {
  override name = "CycleError";
}

/**
 * Values of the enclosing scope that a node's subgraphs read: their inputs, followed through every
 * level, that the subgraph itself does not define.
 */
export function capturedBy(node: Node): Set<string> {
  const captured = new Set<string>();
  for (const attribute of Object.values(node.attributes)) {
    if (attribute.kind === "graph") addCaptured(attribute.value, captured);
  }
  return captured;
}

function addCaptured(graph: Graph, captured: Set<string>): void {
  const own = new Set<string>(graph.initializers.keys());
  for (const input of graph.inputs) own.add(input.name);
  for (const node of graph.nodes) for (const output of node.outputs) own.add(output);
  const read = (name: string) => {
    if (name !== "" && !own.has(name)) captured.add(name);
  };
  for (const node of graph.nodes) {
    node.inputs.forEach(read);
    capturedBy(node).forEach(read);
  }
  for (const output of graph.outputs) read(output.name);
}

/** Values that a node depends on: its inputs and the values that its subgraphs capture. */
function readsOf(node: Node): Iterable<string> {
  const captured = capturedBy(node);
  return captured.size === 0 ? node.inputs : [...node.inputs, ...captured];
}

/**
 * The nodes in an order in which each comes after the nodes it reads from. Stable: nodes move only
 * behind those that they depend on, so a sorted list is returned unchanged.
 *
 * @throws {CycleError} if nodes depend on each other.
 */
export function toposort(nodes: readonly Node[]): readonly Node[] {
  const producer = new Map<string, number>();
  nodes.forEach((node, i) => node.outputs.forEach((name) => name && producer.set(name, i)));
  const waitsFor = nodes.map((node) => {
    const before = new Set<number>();
    for (const name of readsOf(node)) {
      const i = producer.get(name);
      if (i !== undefined) before.add(i);
    }
    return [...before];
  });
  if (waitsFor.every((before, i) => before.every((j) => j < i))) return nodes;

  const done = new Uint8Array(nodes.length);
  const order: Node[] = [];
  const OPEN = 1, CLOSED = 2;
  // A depth-first walk with an explicit stack: a long chain in reverse order is as deep as it is long.
  for (let root = 0; root < nodes.length; root++) {
    if (done[root] === CLOSED) continue;
    const stack = [{ at: root, next: 0 }];
    done[root] = OPEN;
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const before = waitsFor[top.at];
      if (top.next === before.length) {
        done[top.at] = CLOSED;
        order.push(nodes[top.at]);
        stack.pop();
        continue;
      }
      const next = before[top.next++];
      if (done[next] === CLOSED) continue;
      if (done[next] === OPEN) {
        const ring = stack.slice(stack.findIndex(({ at }) => at === next)).map(({ at }) => at);
        throw new CycleError(`Nodes wait for each other: ${describeRing(nodes, ring)}`);
      }
      done[next] = OPEN;
      stack.push({ at: next, next: 0 });
    }
  }
  return order;
}

/** `MatMul "a" → Add "b" → MatMul "a"`, shortened in the middle of a long ring. */
function describeRing(nodes: readonly Node[], ring: readonly number[]): string {
  // The walk goes from reader to producer; data flows the other way.
  const labels = [...ring, ring[0]].reverse().map((i) => {
    const node = nodes[i];
    return `${operatorName(node)} "${node.name || node.outputs[0]}"`;
  });
  if (labels.length > 9) labels.splice(5, labels.length - 8, `… ${labels.length - 8} more …`);
  return labels.join(" → ");
}
