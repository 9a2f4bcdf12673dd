/** The memory that a call's graph takes while it runs, by the plan of the runtime's buffers. */
import { callMemory, callPeak } from "../../src/plan/call_memory.ts";
import type { Graph } from "../../src/graph/types.ts";

/**
 * Bytes in memory together at the peak of a graph's run, and at its end.
 *
 * @param sized values that do not take the memory of dead ones; default none
 */
export function callBytes(
  graph: Graph,
  sized?: ReadonlySet<string>,
): { readonly peak: number; readonly end: number } {
  const memory = callMemory(graph, sized);
  const sizes = new Map<number, number>();
  for (const { takes, releases } of memory.nodes) {
    for (const { buffer, bytes } of takes) sizes.set(buffer, bytes);
    for (const buffer of releases) sizes.delete(buffer);
  }
  const end = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  return { peak: callPeak(memory).bytes, end };
}
