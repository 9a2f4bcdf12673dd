/** The memory that a call's graph takes while it runs, by the plan of the runtime's buffers. */
import { callMemory } from "../../src/plan/call_memory.ts";
import type { Graph } from "../../src/graph/types.ts";

/** Most bytes that lie in memory together while a graph runs. */
export function peakBytes(graph: Graph): number {
  const { nodes } = callMemory(graph);
  const sizes = new Map<number, number>();
  let [now, peak] = [0, 0];
  for (const { takes, releases } of nodes) {
    for (const { buffer, bytes } of takes) {
      sizes.set(buffer, bytes);
      now += bytes;
    }
    peak = Math.max(peak, now);
    for (const buffer of releases) now -= sizes.get(buffer)!;
  }
  return peak;
}
