/** Finds the first invalid node of a graph. */
import { type Graph, type Node, operatorName } from "./types.ts";

/**
 * Describes the first node of a graph or its subgraphs that has a problem, by name.
 *
 * @param scopeOf computes the facts within a subgraph from those of the graph around it
 */
export function firstNodeProblem<Scope>(
  graph: Graph,
  scopeOf: (graph: Graph, outer: Scope | undefined) => Scope,
  problemOf: (node: Node, scope: Scope) => string | undefined,
  outer?: Scope,
): string | undefined {
  const scope = scopeOf(graph, outer);
  for (const [i, node] of graph.nodes.entries()) {
    const problem = problemOf(node, scope);
    if (problem !== undefined) {
      return `node ${i} (${operatorName(node)} "${node.name || node.outputs.join()}"): ${problem}`;
    }
    for (const attribute of Object.values(node.attributes)) {
      const inner = attribute.kind === "graph"
        ? firstNodeProblem(attribute.value, scopeOf, problemOf, scope)
        : undefined;
      if (inner !== undefined) return inner;
    }
  }
  return undefined;
}
