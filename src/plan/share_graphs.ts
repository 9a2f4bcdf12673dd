/** Makes equal calls of a plan share one graph: most of a plan consists of the same few graphs. */
import { sizedName } from "../graph/extents.ts";
import type { PlannedCall } from "./call.ts";
import { shapesOfCall } from "./call_graph.ts";

/**
 * Gives calls of equal key the graph and the key of the first of them.
 *
 * @returns a function to apply to each of a plan's lists of calls
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

/** Equal for calls with the same graph; graphs over different sizes may have the same key. */
export function textOf({ key, graph, sized }: PlannedCall): string {
  return [key, shapesOfCall(graph), ...[...sized.values()].map(sizedName)].join(" ");
}
