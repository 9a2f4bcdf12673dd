/**
 * The job that the timer starts: new data → train → merge → evaluate → promote. A release of a fleet is
 * installed by the same job: what others trained takes the place of the training.
 *
 * Every completed step is recorded. A killed job continues after the last recorded step; each step can
 * be repeated, and only the link that a promotion changes is visible to others.
 */
import { EXIT } from "../errors.ts";
import { exists, removeDirectory } from "../system/durable_files.ts";
import type { Log } from "../system/journal_log.ts";
import { type Cycle, type CycleName, nextCycle, type Score } from "./records.ts";
import type { ServiceState } from "./state.ts";
import type { Snapshot } from "./snapshot.ts";

/** Data copied for a cycle. */
export interface CycleData extends Pick<Snapshot, "digest" | "rows" | "heldOut" | "guessLoss"> {
  /** Number of rows that the model in use learned from and that are missing now. */
  readonly forgotten: number;
}

/** End of a step that did not throw. */
export type StepEnd<T = undefined> =
  | { readonly ended: "done"; readonly value: T }
  /** The work was done and the answer is no. */
  | { readonly ended: "refused"; readonly why: string }
  /** It cannot work with this input. */
  | { readonly ended: "failed"; readonly why: string; readonly code: number }
  /** It was killed and can continue. */
  | { readonly ended: "killed"; readonly why: string }
  /** The job was stopped, and the step ended in order. */
  | { readonly ended: "stopped" };

/** The steps of a job; {@linkcode ChildSteps} runs them as processes. */
export interface JobSteps {
  /** The release that the job installs, by its id; absent for a round. */
  readonly release?: string;
  /**
   * Copies the data for a cycle.
   *
   * @param inUse folder of the model in use; `null` for the base
   * @returns `undefined` if there is none
   */
  snapshot(cycleFolder: string, inUse: string | null): Promise<CycleData | undefined>;
  /** Trains, or continues an interrupted training. */
  train(cycleFolder: string): Promise<StepEnd>;
  /** Merges the trained adapter into a copy of the base. */
  merge(cycleFolder: string): Promise<StepEnd>;
  /** Evaluates the cycle's own model, another one by its folder, or the base (`null`). */
  evaluate(cycleFolder: string, model: "candidate" | string | null): Promise<StepEnd<Score>>;
}

export interface JobOptions {
  /** Share by which a new model's held-out loss must be lower than that of the model in use. */
  readonly margin: number;
  /** Promoted models to keep. */
  readonly keep: number;
  /** Number of kills of a step after which the cycle is abandoned. */
  readonly attempts: number;
}

/** End of a job. */
export type JobResult =
  | { readonly outcome: "no data" | "nothing new" | "interrupted" }
  | { readonly outcome: "promoted"; readonly cycle: CycleName; readonly removed: CycleName[] }
  | { readonly outcome: "rejected"; readonly cycle: CycleName; readonly why: string }
  | {
    readonly outcome: "failed";
    readonly cycle: CycleName;
    readonly why: string;
    readonly code: number;
  };

/** Runs one cycle to its end, the unfinished one if there is one. */
export async function runJob(
  state: ServiceState,
  steps: JobSteps,
  options: JobOptions,
  log: Log,
): Promise<JobResult> {
  const begun = await openCycle(state, steps, log);
  if (typeof begun === "string") return { outcome: begun };
  const cycle = begun.name;
  const fields = { CYCLE: cycle };
  try {
    await doSteps(state, steps, options, log);
  } catch (end) {
    if (!(end instanceof CycleEnd)) throw end;
    const { how, why, code } = end;
    if (how === "interrupted") {
      state.record({ step: "interrupted", cycle, why });
      log("notice", `Cycle ${cycle} waits to go on: ${why}`, { ...fields, STEP: "interrupted" });
      return { outcome: "interrupted" };
    }
    state.record({ step: how, cycle, why });
    log(how === "failed" ? "error" : "notice", `Cycle ${cycle} ${how}: ${why}`, {
      ...fields,
      STEP: how,
    });
    state.clear(options.keep);
    return how === "failed" ? { outcome: how, cycle, why, code } : { outcome: how, cycle, why };
  }
  log("notice", `Model ${cycle} is in use`, { ...fields, STEP: "promoted" });
  const removed = state.clear(options.keep);
  return { outcome: "promoted", cycle, removed };
}

/** Thrown to end the cycle, or to leave it for the next job. */
class CycleEnd extends Error {
  constructor(
    readonly how: "rejected" | "failed" | "interrupted",
    readonly why: string,
    readonly code = 0,
  ) {
    super(why);
  }
}

/** The unfinished cycle of the same work, or a new one if there is new data. */
async function openCycle(
  state: ServiceState,
  steps: JobSteps,
  log: Log,
): Promise<Cycle | "no data" | "nothing new"> {
  const { last, lastRound, inUse } = state.standing;
  const found = state.records.at(-1);
  if (found?.step === "found") {
    const { damagedLine, keptAs } = found;
    const why = damagedLine === undefined
      ? "The journal was missing or had lost its end"
      : `The journal was damaged from line ${damagedLine} on (kept in ${keptAs})`;
    log("warning", `${why}: models ${found.models.join(", ") || "none"} were found`, {
      STEP: "found",
    });
  }
  if (last !== undefined && last.done !== "ended") {
    if (last.release !== steps.release) {
      // What has a record cannot wait: there is one cycle at a time.
      const why = steps.release === undefined
        ? "a round began; the release is installed again after it"
        : "a release came; the next round begins again";
      state.record({ step: "failed", cycle: last.name, why });
      log("notice", `Cycle ${last.name} is given up: ${why}`, { CYCLE: last.name, STEP: "failed" });
      return await openCycle(state, steps, log);
    }
    log("notice", `Going on with cycle ${last.name} after "${last.done}"`, {
      CYCLE: last.name,
      STEP: "resumed",
    });
    return last;
  }
  const name = nextCycle(state.standing);
  const folder = state.cycle(name);
  if (exists(folder)) removeDirectory(folder);
  const snapshot = await steps.snapshot(folder, inUse === null ? null : state.model(inUse));
  if (snapshot === undefined) return "no data";
  const { digest: data, rows, heldOut, guessLoss, forgotten } = snapshot;
  if (steps.release === undefined && lastRound?.data === data && !lastRound.failed) {
    removeDirectory(folder);
    return "nothing new";
  }
  const gone = forgotten === 0 ? {} : { forgotten };
  const { release } = steps;
  state.record({ step: "begun", cycle: name, data, rows, heldOut, guessLoss, release, ...gone });
  const what = release === undefined ? "begins" : `installs release ${release.slice(0, 12)}`;
  log("notice", `Cycle ${name} ${what} with ${rows} rows, ${heldOut} held out`, {
    CYCLE: name,
    STEP: "begun",
    ROWS: rows,
  });
  if (forgotten > 0) {
    log(
      "warning",
      `Cycle ${name} learns without ${forgotten} rows that model ${inUse} learned from: every round ` +
        "trains the base on the rows in the data folder, and they are no longer there",
      { CYCLE: name, STEP: "begun", FORGOTTEN: forgotten },
    );
  }
  return state.standing.last!;
}

/** Runs the steps from the last recorded one to the promotion. */
async function doSteps(
  state: ServiceState,
  steps: JobSteps,
  options: JobOptions,
  log: Log,
): Promise<void> {
  for (;;) {
    const { last, inUse } = state.standing;
    const { name: cycle, done, verdict } = last!;
    const folder = state.cycle(cycle);
    switch (done) {
      case "begun":
        await untilDone(state, cycle, options, log, () => steps.train(folder));
        state.record({ step: "trained", cycle });
        break;
      case "trained":
        await untilDone(state, cycle, options, log, () => steps.merge(folder));
        state.record({ step: "merged", cycle });
        break;
      case "merged":
        await evaluate(state, steps, options, log);
        break;
      case "evaluated":
        if (verdict!.against !== inUse) {
          throw new CycleEnd("rejected", "another model came into use since it was evaluated");
        }
        if (!verdict!.better) {
          throw new CycleEnd("rejected", "it is no better than what it was compared with");
        }
        state.adopt(cycle);
        state.promote(cycle);
        return;
      case "ended":
        return;
    }
    log("info", `Cycle ${cycle}: ${state.standing.last!.done}`, {
      CYCLE: cycle,
      STEP: state.standing.last!.done,
    });
  }
}

/** Runs a step, again if it was killed. */
async function untilDone<T>(
  state: ServiceState,
  cycle: CycleName,
  { attempts }: JobOptions,
  log: Log,
  step: () => Promise<StepEnd<T>>,
): Promise<T> {
  for (let attempt = 1;; attempt++) {
    const end = await step();
    switch (end.ended) {
      case "done":
        return end.value;
      case "refused":
        throw new CycleEnd("rejected", end.why);
      case "failed":
        throw new CycleEnd("failed", end.why, end.code);
      case "stopped":
        throw new CycleEnd("interrupted", "the job was told to stop");
      case "killed":
        if (attempt >= attempts) {
          throw new CycleEnd("failed", `${end.why}, ${attempts} times`, EXIT.refused);
        }
        state.record({ step: "interrupted", cycle, why: end.why });
        log("warning", `Cycle ${cycle}: ${end.why}; going on`, {
          CYCLE: cycle,
          STEP: "interrupted",
        });
    }
  }
}

/** Whether a step failed because of a model or its data, and not because of the machine. */
const isUnsuitable = (end: unknown): end is CycleEnd =>
  end instanceof CycleEnd && end.how === "failed" &&
  (end.code === EXIT.usage || end.code === EXIT.badInput);

/** Measures a model by its name, or the base (`null`). */
type Measure = (model: CycleName | null) => Promise<Score>;

/**
 * The score that a new model must beat. A model in use that is damaged, or that lacks a new class, must not
 * keep out all later ones.
 */
async function scoreToBeat(state: ServiceState, measure: Measure, log: Log): Promise<Score> {
  const { last, inUse } = state.standing;
  const { name: cycle, guessLoss } = last!;
  const trained = inUse === null ? [] : [inUse, ...state.earlier];
  // The base was not trained for the rows, but what is no better than it is of no use.
  const models = inUse === null || guessLoss === undefined ? [...trained, null] : trained;
  let first: CycleEnd | undefined;
  for (const model of models) {
    try {
      const score = await measure(model);
      if (first === undefined) return score;
      log(
        "warning",
        `Cycle ${cycle}: model ${inUse}, which is in use, cannot be evaluated: ${first.why}. ` +
          `${model === null ? "The base" : `Model ${model}`} is evaluated instead`,
        { CYCLE: cycle, STEP: "evaluated" },
      );
      return { ...score, instead: { model, why: first.why } };
    } catch (end) {
      if (!isUnsuitable(end)) throw end;
      first ??= end;
    }
  }
  // A base without classes, say.
  if (guessLoss !== undefined) return { loss: guessLoss, guessed: first!.why };
  throw first;
}

async function evaluate(
  state: ServiceState,
  steps: JobSteps,
  options: JobOptions,
  log: Log,
): Promise<void> {
  const { last, inUse: against } = state.standing;
  const { name: cycle } = last!;
  const measured = (model: "candidate" | string | null) =>
    untilDone(state, cycle, options, log, () => steps.evaluate(state.cycle(cycle), model));
  const candidate = await measured("candidate");
  const measure: Measure = (model) =>
    measured(model === null ? null : `${state.model(model)}/model`);
  const inUse = await scoreToBeat(state, measure, log);
  const { margin } = options;
  const better = candidate.loss <= inUse.loss * (1 - margin);
  state.record({ step: "evaluated", cycle, against, inUse, candidate, margin, better });
  log(
    "notice",
    `Cycle ${cycle}: held-out loss ${candidate.loss.toFixed(4)}, ` +
      `${comparedWith(inUse)} ${inUse.loss.toFixed(4)}`,
    { CYCLE: cycle, STEP: "evaluated", LOSS: candidate.loss, LOSS_IN_USE: inUse.loss },
  );
}

const comparedWith = ({ guessed, instead }: Score): string =>
  guessed !== undefined ? "guessing" : instead === undefined ? "in use" : instead.model ?? "base";
