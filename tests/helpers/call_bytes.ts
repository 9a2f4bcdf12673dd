/** The memory that a call's graph takes while it runs, by the plan of the runtime's buffers. */
import { callMemory } from "../../src/plan/call_memory.ts";
import type { Graph } from "../../src/graph/types.ts";

/** Bytes in memory together at the peak of a graph's run, and at its end. */
export function callBytes(graph: Graph): { readonly peak: number; readonly end: number } {
  const { nodes } = callMemory(graph);
  const sizes: number[] = [];
  let [now, peak] = [0, 0];
  for (const { takes, scratchBytes, releases } of nodes) {
    for (const { buffer, bytes } of takes) now += sizes[buffer] = bytes;
    peak = Math.max(peak, now + scratchBytes.reduce((sum, bytes) => sum + bytes, 0));
    for (const buffer of releases) now -= sizes[buffer];
  }
  return { peak, end: now };
}
