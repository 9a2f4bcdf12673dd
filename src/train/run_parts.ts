/**
 * Runs the schedules of a batch's parts at the same time. They share everything but what passes between their
 * calls: one of them makes for all what is made of weights alone. Each parameter has one sum of gradients,
 * however many parts there are: the first part adds to the earlier sum, the second to the first part's
 * result, so that the sum does not depend on which part was quicker.
 */
import { elementCount } from "../graph/tensor.ts";
import type { PlannedCall } from "../plan/call.ts";
import { leavesSpan, nameInOtherSpan, type Schedule } from "../plan/schedule.ts";
import type {
  DeviceTensor,
  EarlierResult,
  ListedResult,
  ListedRun,
  Runner,
} from "../runtime/runner.ts";
import { holdBack } from "./hold_back.ts";
import type { PlanCache } from "./plan_cache.ts";
import type { PrefixRows } from "./prefix_cache.ts";
import type { OnSum } from "./run_schedule.ts";
import type { StepSlab } from "./step_slab.ts";

/** A part's schedule and what it runs with. */
export interface PartRun {
  readonly schedule: Schedule;
  /** Tensors that the calls read, sums of gradients so far included; the schedule's results are added. */
  readonly env: Map<string, DeviceTensor>;
  /** The part's rows in the result of the frozen calls, which do not run if all are there. */
  readonly kept?: PrefixRows;
}

/** What parts run with. */
export interface PartMeans {
  readonly runner: Runner;
  readonly plans: PlanCache;
  /** Where the tensors between calls are placed, those of each part in a slab of its own. */
  readonly slab: StepSlab;
}

/** What happens while the parts' threads are at work. */
export interface Meanwhile {
  /** Done by this thread, which would only wait for them. */
  readonly meanwhile?: () => Promise<void>;
  /** Told of each sum of gradients soon after the last run that adds to it. */
  readonly onSum?: OnSum;
}

/**
 * @param sums names of the sums of gradients
 * @returns the new sums by name, for those that a part adds to; the caller owns them
 */
export async function runParts(
  parts: readonly PartRun[],
  sums: ReadonlySet<string>,
  means: PartMeans,
  meanwhile: Meanwhile = {},
): Promise<ReadonlyMap<string, DeviceTensor>> {
  const placements = means.slab.tensorsOf(parts.map(({ schedule }) => schedule));
  const whole = parts.map((part, p): RunningPart => ({
    ...part,
    placements: placements[p],
    calls: part.schedule.calls,
  }));
  if (parts.some(({ kept }) => kept !== undefined)) await runFrozen(whole, means);
  const trained = whole.map((part) => ({
    ...part,
    calls: part.calls.slice(part.kept?.prefix.end ?? 0),
  }));
  return await runCalls(trained, sums, means, meanwhile);
}

/** Calls of a part. */
interface RunningPart extends PartRun {
  readonly calls: readonly PlannedCall[];
  /** Tensors between calls. */
  readonly placements: ReadonlyMap<string, DeviceTensor>;
}

/** Runs the parts' calls up to the last frozen one; if its result is kept, only those before the first. */
async function runFrozen(parts: readonly RunningPart[], means: PartMeans): Promise<void> {
  const found = parts.map(({ kept }) => kept?.read());
  const frozen = parts.map((part, p): RunningPart => {
    const { start = 0, end = 0 } = part.kept?.prefix ?? {};
    return { ...part, calls: part.calls.slice(0, found[p] === undefined ? end : start) };
  });
  await runCalls(frozen, new Set(), means);
  for (const [p, { kept, placements }] of parts.entries()) {
    if (kept === undefined) continue;
    const result = placements.get(kept.prefix.output)!;
    result.write(found[p] ?? kept.complete(result.read()));
  }
}

async function runCalls(
  running: readonly RunningPart[],
  sums: ReadonlySet<string>,
  { runner, plans }: PartMeans,
  { meanwhile, onSum }: Meanwhile = {},
): Promise<ReadonlyMap<string, DeviceTensor>> {
  const owners = ownersOf(running);
  const own = running.map(({ calls }, list) =>
    calls.filter((call) => (owners.get(call) ?? list) === list)
  );
  /** For each part, the runs that make what has no place of its own. */
  const made = unplaced(own, owners, running);
  const spans = own.map((calls, list) => leavingSpan(calls, list));
  /** By sum: the last run that added to it. */
  const latest = new Map<string, EarlierResult>();
  const lists: ListedRun[][] = running.map(() => []);
  const order = [...running.entries()];
  // In the backward pass a span waits for the one after it, whose sums therefore come first.
  const areSpans = spans.some(({ size }) => size > 0);
  if (areSpans) order.reverse();
  for (const [list, { placements, env }] of order) {
    const runs = lists[list];
    for (const call of own[list]) {
      const executable = await plans.session(call, "one");
      const feeds: Record<string, DeviceTensor | EarlierResult> = {};
      for (const [canonical, name] of call.feeds) {
        const value = made[list].get(name) ?? latest.get(name) ?? placements.get(name) ??
          env.get(name) ?? fromOtherSpan(name, list, spans);
        if (value === undefined) throw new ReferenceError(`"${name}" is missing in ${call.label}`);
        feeds[canonical] = value;
      }
      const into: Record<string, DeviceTensor> = {};
      for (const [canonical, name] of call.fetches) {
        const place = placements.get(name);
        if (place !== undefined) into[canonical] = place;
        else if (sums.has(name)) latest.set(name, { list, run: runs.length, output: canonical });
      }
      runs.push({ executable, feeds, into });
    }
  }
  if (areSpans) holdBack(lists, spans.map((left) => left.values()));
  const gradients = new Map<string, DeviceTensor>();
  const onRun = onSum && ((list: number, run: number, { outputs }: ListedResult) => {
    for (const [name, last] of latest) {
      if (last.list === list && last.run === run) onSum(name, outputs[last.output]);
    }
  });
  const [results] = await Promise.all([runner.runLists(lists, onRun), meanwhile?.()]);
  for (const [list, { env }] of running.entries()) {
    for (const [run, call] of own[list].entries()) {
      for (const [canonical, result] of Object.entries(results[list][run].outputs)) {
        const name = call.fetches.get(canonical)!;
        if (sums.has(name)) gradients.set(name, result);
        else if (leavesSpan(name)) result[Symbol.dispose]();
        else env.set(name, result);
      }
    }
  }
  return gradients;
}

/**
 * Which part makes what all of them share; each makes its own where their calls differ. The shared work is
 * divided evenly.
 */
function ownersOf(running: readonly RunningPart[]): ReadonlyMap<PlannedCall, number> {
  const [{ calls }] = running;
  const alike = running.every((other) =>
    other.calls.length === calls.length && other.calls.every((call, i) => call === calls[i])
  );
  const owners = new Map<PlannedCall, number>();
  if (!alike) return owners;
  const loads = running.map(() => 0);
  for (const call of calls) {
    if (!call.isShared) continue;
    const owner = loads.indexOf(Math.min(...loads));
    loads[owner] += outputElements(call);
    owners.set(call, owner);
  }
  return owners;
}

function outputElements({ graph }: PlannedCall): number {
  return graph.outputs.reduce(
    (sum, { type }) => sum + elementCount(type!.shape as readonly number[]),
    0,
  );
}

/** What a part's runs make for the spans of a sequence before and after its own, by name. */
function leavingSpan(
  calls: readonly PlannedCall[],
  list: number,
): ReadonlyMap<string, EarlierResult> {
  const found = new Map<string, EarlierResult>();
  for (const [run, { fetches }] of calls.entries()) {
    for (const [output, name] of fetches) {
      if (leavesSpan(name)) found.set(name, { list, run, output });
    }
  }
  return found;
}

/** What a part reads from the part that computes the span before or after its own. */
function fromOtherSpan(
  name: string,
  list: number,
  spans: readonly ReadonlyMap<string, EarlierResult>[],
): EarlierResult | undefined {
  const there = nameInOtherSpan(name);
  return there && spans[there.where === "before" ? list - 1 : list + 1]?.get(there.name);
}

/** What shared calls make, by name, for each part: its own results, or those of the part that makes them. */
function unplaced(
  own: readonly (readonly PlannedCall[])[],
  owners: ReadonlyMap<PlannedCall, number>,
  running: readonly RunningPart[],
): readonly ReadonlyMap<string, EarlierResult>[] {
  const made = running.map(() => new Map<string, EarlierResult>());
  for (const [list, calls] of own.entries()) {
    for (const [run, call] of calls.entries()) {
      if (!call.isShared) continue;
      const readers = owners.has(call) ? made : [made[list]];
      for (const [output, name] of call.fetches) {
        for (const reader of readers) reader.set(name, { list, run, output });
      }
    }
  }
  return made;
}
