/** Calls in order, with the lifetimes of the tensors that pass between them. */
import type { BoundSizes } from "../graph/size.ts";
import type { PlannedCall } from "./call.ts";
import { cotangentName, EXPECTED_ROWS, gradientName, LOGITS, LOSS } from "./names.ts";
import { earlierOf, isEarlier, isLater, laterOf } from "./span.ts";
import { placeTensors, type StepMemory } from "./step_memory.ts";

/** Calls in order, and after which call each intermediate tensor is no longer read. */
export interface CallSequence {
  readonly calls: readonly PlannedCall[];
  /** For each call, the intermediates to free after it. */
  readonly release: readonly (readonly string[])[];
}

/** Calls at a batch, some of which may be parts of a planned one. */
export interface Schedule extends CallSequence {
  /** The batch's sizes, over which the calls' graphs are built. */
  readonly sizes: BoundSizes;
  /** The offsets of the intermediates. */
  readonly memory: StepMemory;
}

/** Binds calls to a batch. */
export function scheduleAt({ calls, release }: CallSequence, sizes: BoundSizes): Schedule {
  return { calls, release, sizes, memory: placeTensors(calls, release, sizes) };
}

/** A call as planned, over all rows of a batch, and those that it runs as. */
export interface PlannedRuns {
  readonly planned: PlannedCall;
  readonly runs: readonly PlannedCall[];
}

/** The calls as they were planned, in order. */
export function plannedRuns({ calls }: CallSequence): readonly PlannedRuns[] {
  const found: { planned: PlannedCall; runs: PlannedCall[] }[] = [];
  for (const call of calls) {
    const last = found.at(-1);
    if (call.partOf !== undefined && call.partOf === last?.planned) last.runs.push(call);
    else found.push({ planned: call.partOf ?? call, runs: [call] });
  }
  return found;
}

/**
 * Determines after which call each intermediate is dead.
 *
 * @param results what outlives the calls in addition to loss, logits and gradients
 */
export function scheduled(
  calls: readonly PlannedCall[],
  results: readonly string[] = [],
): CallSequence {
  const lastUse = new Map<string, number>();
  calls.forEach((call, i) => {
    for (const name of call.fetches.values()) lastUse.set(name, i);
    for (const name of call.feeds.values()) if (lastUse.has(name)) lastUse.set(name, i);
  });
  const release: string[][] = calls.map(() => []);
  for (const [name, i] of lastUse) {
    if (!isResult(name) && !results.includes(name)) release[i].push(name);
  }
  return { calls, release };
}

const RESULT = new Set([LOSS, LOGITS, EXPECTED_ROWS]);
const GRADIENT = gradientName("");

/** Whether a tensor outlives the step. */
function isResult(name: string): boolean {
  return RESULT.has(name) || name.startsWith(GRADIENT) || leavesSpan(name);
}

const COTANGENT = cotangentName("");

/** Whether another span of the sequence reads a tensor: its keys and values, or their cotangents. */
export function leavesSpan(name: string): boolean {
  return isLater(name) || name.startsWith(COTANGENT) && isEarlier(name.slice(COTANGENT.length));
}

/** The name of a tensor in the span that it comes from: the one before, or for a cotangent the one after. */
export function nameInOtherSpan(
  name: string,
): { name: string; where: "before" | "after" } | undefined {
  if (isEarlier(name)) return { name: laterOf(name), where: "before" };
  const value = name.slice(COTANGENT.length);
  if (!name.startsWith(COTANGENT) || !isLater(value)) return undefined;
  return { name: cotangentName(earlierOf(value)), where: "after" };
}
