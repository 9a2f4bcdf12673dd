/** Which operators a graph is made of. */
import { graphsWithin } from "./nested.ts";
import { type Graph, operatorName } from "./types.ts";

/** Number of nodes of a graph and its subgraphs by operator, the most frequent first. */
export function countOperators(graph: Graph): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const { nodes } of graphsWithin(graph)) {
    for (const node of nodes) {
      const name = operatorName(node);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return Object.fromEntries([...counts].sort((a, b) => b[1] - a[1]));
}
