/** Results that depend on a graph alone: made once, kept as long as the graph. */
import type { Graph } from "./types.ts";

/**
 * Remembers what a function makes of a graph; a model is planned for many batch shapes, and much of
 * a plan has nothing to do with them.
 *
 * @param make of a graph and what else it depends on, as text
 */
export function oncePerGraph<T>(
  make: (graph: Graph, detail: string) => T,
): (graph: Graph, detail: string) => T {
  const results = new WeakMap<Graph, Map<string, T>>();
  return (graph, detail) => {
    const made = results.get(graph) ?? new Map<string, T>();
    results.set(graph, made);
    if (!made.has(detail)) made.set(detail, make(graph, detail));
    return made.get(detail)!;
  };
}
