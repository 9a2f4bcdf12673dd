/** Times training steps and where their time goes. */
import { accumulate, applyStep } from "../train/accumulate.ts";
import type { Optimizer } from "../train/optimizer.ts";
import type { Batch, BatchSource, StepModel } from "../train/step.ts";
import { Random } from "../random.ts";
import { median } from "../statistics.ts";

/** Parts of a step; `other` is all that happens between the runtime's runs. */
export const PHASES = ["forward", "head", "backward", "optimizer", "other"] as const;
export type Phase = (typeof PHASES)[number];

/** Steps that are left out: they compile sessions and fill caches. */
const WARM_UP = 2;

/** The part of a step that a session's label belongs to (see `src/plan`). */
export function phaseOf(label: string): Phase {
  if (/^(prologue|forward )/.test(label)) return "forward";
  if (/^(head|loss)/.test(label)) return "head";
  return label.startsWith("backward ") ? "backward" : "optimizer";
}

/** Adds up the runs of the phases; hand `onRun` to a `timedRunner`. */
export class PhaseClock {
  #sums = new Map<Phase, number>();

  readonly onRun = (label: string, milliseconds: number): void => {
    const phase = phaseOf(label);
    this.#sums.set(phase, (this.#sums.get(phase) ?? 0) + milliseconds);
  };

  /** Milliseconds since the last call, by phase. */
  take(): ReadonlyMap<Phase, number> {
    const sums = this.#sums;
    this.#sums = new Map();
    return sums;
  }
}

/** What the timed steps were like. */
export interface StepTimes {
  /** `performance.now()` before the first timed step. */
  readonly began: number;
  readonly steps: number;
  /** Real tokens of all timed steps, padding not counted. */
  readonly tokens: number;
  readonly targets: number;
  readonly tokensPerSecond: number;
  /** Median milliseconds of a step. */
  readonly stepMs: number;
  /** Mean milliseconds a step, by phase; they add up to the mean step. */
  readonly phases: Readonly<Record<Phase, number>>;
  /** Mean loss over the target tokens of the last step. */
  readonly loss: number;
}

/**
 * Takes training steps and times all but the first two.
 *
 * @param steps timed steps, at least 1
 */
export async function timeSteps<B extends Batch>(
  { model, optimizer, data }: {
    readonly model: StepModel<B>;
    readonly optimizer: Optimizer;
    readonly data: BatchSource<B>;
  },
  clock: PhaseClock,
  steps: number,
): Promise<StepTimes> {
  const random = Random.fromSeed(0);
  const times: number[] = [];
  const sums = new Map<Phase, number>();
  let position = { epoch: 0, batchIndex: 0 };
  let [tokens, targets, loss] = [0, 0, NaN];
  let began = 0;
  for (let step = 0; step < WARM_UP + steps; step++) {
    clock.take();
    const start = performance.now();
    if (step === WARM_UP) began = start;
    const batches = { data, position, count: 1, isLast: step + 1 === WARM_UP + steps };
    const done = (await accumulate(model, batches, random, undefined))!; // no signal
    await applyStep(optimizer, done, 1e-4, 1);
    const time = performance.now() - start;
    position = done.next;
    if (step < WARM_UP) continue;
    times.push(time);
    tokens += done.tokens;
    targets += done.targetCount;
    loss = done.lossSum / done.targetCount;
    for (const [phase, ms] of clock.take()) sums.set(phase, (sums.get(phase) ?? 0) + ms);
  }
  const total = times.reduce((sum, time) => sum + time, 0);
  const inside = [...sums.values()].reduce((sum, time) => sum + time, 0);
  sums.set("other", total - inside);
  return {
    began,
    steps,
    tokens,
    targets,
    tokensPerSecond: tokens / total * 1000,
    stepMs: median(times),
    phases: Object.fromEntries(
      PHASES.map((phase) => [phase, (sums.get(phase) ?? 0) / steps]),
    ) as Record<Phase, number>,
    loss,
  };
}
