/** Equal calls of a plan hold one graph between them: most of a plan is the same few graphs. */
import type { PlannedCall } from "./call.ts";

/**
 * Gives calls of equal key the graph and key of the first of them.
 *
 * @returns a function to put a plan's calls through, list after list
 */
export function graphSharing(): (calls: readonly PlannedCall[]) => readonly PlannedCall[] {
  const first = new Map<string, PlannedCall>();
  return (calls) =>
    calls.map((call) => {
      const found = first.get(call.key);
      if (found !== undefined) return { ...call, key: found.key, graph: found.graph };
      first.set(call.key, call);
      return call;
    });
}
