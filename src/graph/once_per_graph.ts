/** Results that depend only on a graph: computed once, kept as long as the graph. */
import type { Graph } from "./types.ts";

/**
 * Caches a function of a graph: a model is planned for many batch shapes, and much of a plan does not
 * depend on the shape.
 *
 * @param make computes the result from a graph and a text of the other things that it depends on; what
 *   follows these does not change it
 */
export function oncePerGraph<T, Rest extends readonly unknown[]>(
  make: (graph: Graph, detail: string, ...rest: Rest) => T,
): (graph: Graph, detail: string, ...rest: Rest) => T {
  const results = new WeakMap<Graph, Map<string, T>>();
  return (graph, detail, ...rest) => {
    const made = results.get(graph) ?? new Map<string, T>();
    results.set(graph, made);
    if (!made.has(detail)) made.set(detail, make(graph, detail, ...rest));
    return made.get(detail)!;
  };
}
