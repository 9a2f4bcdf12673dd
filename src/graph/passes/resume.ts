/** Graphs that begin in the middle of another: the values that are live there become inputs. */
import type { Graph, Node, ValueType } from "../types.ts";
import { verify } from "../verify.ts";
import { readBy } from "./prune.ts";

/** A point between two nodes of a graph. */
export interface Place {
  /** Number of nodes before it. */
  readonly position: number;
  /** Carried values that nodes before it compute and nodes after it read. */
  readonly live: readonly string[];
}

/**
 * The point with the fewest live values between those that compute `done` and those that compute `next`, the
 * last of several.
 *
 * @param sources graph inputs whose contents are carried on: values computed only from other inputs (masks,
 *   angles of positions) are computed again and not live
 * @param readsShape whether a node's result depends only on the shapes of its inputs
 * @returns `undefined` if a value of `next` comes before a value of `done`
 */
export function narrowestPlace(
  { nodes }: Graph,
  done: Iterable<string>,
  next: Iterable<string>,
  sources: ReadonlySet<string>,
  readsShape: (node: Node) => boolean,
): Place | undefined {
  const producers = new Map(nodes.flatMap((node, i) => node.outputs.map((name) => [name, i])));
  const at = (name: string) => producers.get(name) ?? -1;
  const from = Math.max(...Array.from(done, at)) + 1;
  const to = Math.min(...Array.from(next, at));
  if (!(from <= to)) return undefined;
  const carried = new Set(sources);
  const lastRead = new Map<string, number>();
  nodes.forEach((node, i) => {
    const read = [...readBy(node)].filter((name) => carried.has(name));
    for (const name of read) lastRead.set(name, i);
    if (read.length === 0 || readsShape(node)) return;
    for (const name of node.outputs) if (name !== "") carried.add(name);
  });
  let found: Place | undefined;
  for (let position = from; position <= to; position++) {
    const live = [...lastRead].filter(([name, last]) =>
      !sources.has(name) && at(name) < position && last >= position
    ).map(([name]) => name);
    if (found === undefined || live.length <= found.live.length) found = { position, live };
  }
  return found;
}

/**
 * The graph with some values as inputs. Nodes that computed them stay, under other names, for the other
 * values that need them; `prune` removes the rest.
 *
 * @param values their types
 */
export function resumeWith(graph: Graph, values: ReadonlyMap<string, ValueType>): Graph {
  return verify({
    ...graph,
    inputs: [
      ...graph.inputs,
      ...[...values].map(([name, type]) => ({ name, type })),
    ],
    nodes: graph.nodes.map((node) =>
      node.outputs.some((name) => values.has(name))
        ? {
          ...node,
          outputs: node.outputs.map((name) => values.has(name) ? `${name}.again` : name),
        }
        : node
    ),
    valueInfo: new Map([...graph.valueInfo].filter(([name]) => !values.has(name))),
  }, "resumeWith()");
}
