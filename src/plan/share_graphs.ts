/** Equal calls of a plan hold one graph between them: most of a plan is the same few graphs. */
import { sizedName } from "../graph/extents.ts";
import type { PlannedCall } from "./call.ts";
import { shapesOfCall } from "./call_graph.ts";

/**
 * Gives calls of equal key the graph and key of the first of them.
 *
 * @returns a function to put a plan's calls through, list after list
 */
export function graphSharing(): (calls: readonly PlannedCall[]) => readonly PlannedCall[] {
  const first = new Map<string, PlannedCall>();
  return (calls) =>
    calls.map((call) => {
      const text = textOf(call);
      const found = first.get(text);
      if (found === undefined) first.set(text, call);
      return found === undefined ? call : { ...call, key: found.key, graph: found.graph };
    });
}

/** Equal for calls with one graph: those over other sizes may have one key. */
export function textOf({ key, graph, sized }: PlannedCall): string {
  return [key, shapesOfCall(graph), ...[...sized.values()].map(sizedName)].join(" ");
}
