/** Runs a planned schedule: its calls in order, over tensors by name. */
import type { Tensor } from "../graph/tensor.ts";
import type { PlannedCall } from "../plan/call.ts";
import type { Schedule } from "../plan/schedule.ts";
import type { DeviceTensor, Runner } from "../runtime/runner.ts";
import { forgetMapped } from "../system/mapped_file.ts";
import type { PlanCache } from "./plan_cache.ts";
import type { PrefixRows } from "./prefix_cache.ts";
import { sessionClock } from "./session_clock.ts";
import type { StepSlab } from "./step_slab.ts";

/** What schedules run with. */
export interface ScheduleMeans {
  readonly runner: Runner;
  readonly plans: PlanCache;
  readonly slab: StepSlab;
}

/** What is particular to a run. */
export interface RunOptions {
  /** The batch's rows in the result of the frozen calls, which do not run if all are there. */
  readonly kept?: PrefixRows;
  /** Weights by name that leave memory after each call that reads them: mapped files still have them. */
  readonly passing?: ReadonlyMap<string, Tensor>;
  /** Names of sums of gradients, which several calls may add to. */
  readonly sums?: ReadonlySet<string>;
  /** Told of each sum after the last call that adds to it. */
  readonly onSum?: OnSum;
}

/** Takes a sum of gradients, complete, with its name. */
export type OnSum = (name: string, sum: DeviceTensor) => void;

/** @param env tensors that the calls read; results of the schedule are added, and what it frees is removed */
export async function runSchedule(
  schedule: Schedule,
  env: Map<string, DeviceTensor>,
  means: ScheduleMeans,
  { kept, passing, sums, onSum }: RunOptions = {},
): Promise<void> {
  const completed = onSum && sums && completedSums(schedule.calls, sums);
  const run = new ScheduleRun(schedule, env, means);
  const frozen = kept?.prefix;
  const read = kept?.read();
  try {
    for (const [i, call] of schedule.calls.entries()) {
      const skipped = read !== undefined && i >= frozen!.start && i < frozen!.end;
      if (!skipped) {
        await run.call(call);
        if (passing !== undefined) forgetFeeds(call, passing);
        for (const name of completed?.[i] ?? []) onSum!(name, env.get(name)!);
      }
      if (i + 1 === frozen?.end) {
        if (read !== undefined) run.give(frozen.output, read);
        else {
          const result = env.get(frozen.output)!;
          result.write(kept!.complete(result.read()));
        }
      }
      // What calls other than the skipped ones made is freed as usual.
      run.release(i);
    }
  } catch (error) {
    run.abandon();
    throw error;
  }
}

/** For each call, the sums that no later one adds to. */
function completedSums(
  calls: readonly PlannedCall[],
  sums: ReadonlySet<string>,
): readonly (readonly string[])[] {
  const last = new Map<string, number>();
  for (const [i, { fetches }] of calls.entries()) {
    for (const name of fetches.values()) if (sums.has(name)) last.set(name, i);
  }
  return calls.map((_, i) => [...last].flatMap(([name, call]) => call === i ? [name] : []));
}

function forgetFeeds({ feeds }: PlannedCall, passing: ReadonlyMap<string, Tensor>): void {
  for (const name of feeds.values()) {
    const weight = passing.get(name);
    if (weight !== undefined) forgetMapped(weight.bytes);
  }
}

/** One run through a schedule, call by call. */
export class ScheduleRun {
  readonly #schedule: Schedule;
  readonly #env: Map<string, DeviceTensor>;
  readonly #means: ScheduleMeans;
  /** Tensors with a place in the slab; absent on a separate device, where the runtime places them best. */
  readonly #placed: ReadonlyMap<string, DeviceTensor> | undefined;
  /** Tensors without a place that were made on the way. */
  readonly #made = new Set<string>();

  /** @param placed the tensors in the slab, if they are in place */
  constructor(
    schedule: Schedule,
    env: Map<string, DeviceTensor>,
    means: ScheduleMeans,
    placed = means.runner.inPlace ? means.slab.tensorsOf([schedule])[0] : undefined,
  ) {
    this.#schedule = schedule;
    this.#env = env;
    this.#means = means;
    this.#placed = placed;
  }

  async call(call: PlannedCall): Promise<void> {
    const executable = await this.#means.plans.session(call, "pool");
    const feeds: Record<string, DeviceTensor> = {};
    for (const [canonical, name] of call.feeds) {
      const value = this.#env.get(name) ?? (call.partOf && this.#placed?.get(name));
      if (value === undefined) throw new ReferenceError(`"${name}" is missing in ${call.label}`);
      feeds[canonical] = value;
    }
    const into: Record<string, DeviceTensor> = {};
    for (const [canonical, name] of call.fetches) {
      const tensor = this.#placed?.get(name);
      if (tensor !== undefined) into[canonical] = tensor;
    }
    const results = await sessionClock(executable, call.sizes ?? this.#schedule.sizes).time(
      1,
      (brief) => executable.run(feeds, executable.outputNames, { into, brief }),
    );
    for (const [canonical, name] of call.fetches) {
      this.#env.set(name, results[canonical]);
      if (into[canonical] === undefined) this.#made.add(name);
    }
    // Parts of the rows are put together where they lie.
    for (const name of call.partOf?.fetches.values() ?? []) {
      const whole = this.#placed?.get(name);
      if (whole !== undefined) this.#env.set(name, whole);
    }
  }

  /** Puts a result that was not computed where the calls expect it. */
  give(name: string, value: Tensor): void {
    const place = this.#placed?.get(name);
    place?.write(value);
    this.#env.set(name, place ?? this.#means.runner.upload(value));
    if (place === undefined) this.#made.add(name);
  }

  /** Frees what nothing reads after the i-th call. */
  release(i: number): void {
    for (const name of this.#schedule.release[i]) {
      if (!this.#placed?.has(name)) this.#env.get(name)?.[Symbol.dispose]();
      this.#env.delete(name);
    }
  }

  /** Runs consecutive calls, each followed by what it frees. */
  async calls(
    from: number,
    to: number,
    { passing }: Pick<RunOptions, "passing"> = {},
  ): Promise<void> {
    for (let i = from; i < to; i++) {
      const call = this.#schedule.calls[i];
      await this.call(call);
      if (passing !== undefined) forgetFeeds(call, passing);
      this.release(i);
    }
  }

  /** Frees what a step that failed half-way leaves with the runtime. */
  abandon(): void {
    for (const name of this.#made) this.#env.get(name)?.[Symbol.dispose]();
  }
}
