/**
 * Does what the newest order says with the models of a box: goes back from a withdrawn release, and merges,
 * measures and promotes or rejects a new one, as a round does with what it has trained.
 */
import { BusyError, GraftError } from "../../errors.ts";
import { type JobOptions, type JobSteps, runJob } from "../../service/job.ts";
import type { CycleName, JournalRecord, Score } from "../../service/records.ts";
import type { ServiceState } from "../../service/state.ts";
import { isModelThere } from "../../service/state_files.ts";
import type { Log } from "../../system/journal_log.ts";
import { certifiedGainKept } from "../../tasks/merged_folder.ts";
import { VERSION } from "../../version.ts";
import { type Order, piecesOf, type Release, releaseId } from "../release/order.ts";
import type { BoxReport, BoxState } from "../release/report.ts";
import { positionOf } from "../release/waves.ts";
import { modelRelease } from "./box_release.ts";
import type { Inbox } from "./inbox.ts";

/** What an order is applied with. */
export interface BoxWork {
  readonly box: string;
  readonly state: ServiceState;
  readonly inbox: Inbox;
  readonly options: JobOptions;
  readonly log: Log;
  /** The steps that install a release. */
  steps(release: Release): JobSteps & Disposable;
  /** Called when a state lasts. */
  onReport(report: BoxReport): void;
}

/**
 * Applies an order that was verified and accepted.
 *
 * @returns what the box reports then; `undefined` if it was stopped and goes on with the next call
 */
export async function applyOrder(order: Order, work: BoxWork): Promise<BoxReport | undefined> {
  leaveWithdrawn(order, work);
  const { target } = order;
  if (target === null) return report(order, work, { state: "settled" });
  const id = releaseId(target);
  const decided = decisionOn(id, work.state.records);
  if (decided !== undefined && isFinal(decided, work.state)) return report(order, work, decided);
  if (positionOf(work.box, id) >= order.open) return report(order, work, { state: "waiting" });
  const isComplete = [...piecesOf(target)].every(([digest, bytes]) =>
    work.inbox.hasPiece(digest, bytes)
  );
  if (!isComplete) return report(order, work, { state: "fetching" });
  work.onReport(report(order, work, { state: "installing" }));
  return await install(order, target, work);
}

async function install(
  order: Order,
  release: Release,
  work: BoxWork,
): Promise<BoxReport | undefined> {
  const { state, options, log } = work;
  try {
    using steps = work.steps(release);
    const result = await runJob(state, steps, options, log);
    if (result.outcome === "interrupted") return undefined;
  } catch (error) {
    if (!(error instanceof GraftError) || error instanceof BusyError) throw error;
    const why = error.message;
    log("error", `Release ${release.name} was not installed: ${why}`, { STEP: "failed" });
    return report(order, work, { state: "failed", why });
  }
  const decision = decisionOn(releaseId(release), state.records);
  return report(order, work, decision ?? { state: "failed", why: "the journal has no decision" });
}

/** Goes back from a model of a withdrawn release: to the target if it is there, else to the one before. */
function leaveWithdrawn({ withdrawn, target, why }: Order, { state, log }: BoxWork): void {
  const isWithdrawn = (name: CycleName | null) => {
    const release = name === null ? undefined : modelRelease(state.model(name));
    return release !== undefined && withdrawn.includes(release.id);
  };
  const { inUse, before, promoted } = state.standing;
  if (inUse === null || !isWithdrawn(inUse)) return;
  const isThere = (name: CycleName) => isModelThere(state.held, name);
  const wanted = target === null ? undefined : releaseId(target);
  const there = promoted.findLast((name) =>
    isThere(name) && modelRelease(state.model(name))?.id === wanted
  );
  const to = wanted !== undefined && there !== undefined
    ? there
    : before.findLast((name) => name === null || (isThere(name) && !isWithdrawn(name))) ?? null;
  state.rollBack(to);
  log("notice", `Model ${inUse} was withdrawn: ${to ?? "the base"} is in use (${why})`, {
    STEP: "rolled back",
    MODEL: to ?? "base",
  });
}

/** Whether nothing is to be done again: what failed is, and what was promoted long ago and is gone. */
function isFinal({ state, cycle }: Findings, { held }: ServiceState): boolean {
  return state === "rejected" ||
    (state === "promoted" && cycle !== undefined && isModelThere(held, cycle));
}

/** What is reported about a release. */
type Findings = Pick<BoxReport, "loss" | "lossInUse" | "gainKept" | "why"> & {
  readonly state: BoxState;
  /** The cycle that installed it. */
  readonly cycle?: CycleName;
};

/** What the journal says was decided about a release, the last time; `undefined` if nothing was. */
function decisionOn(id: string, records: readonly JournalRecord[]): Findings | undefined {
  const begun = records.findLast((record) => record.step === "begun" && record.release === id);
  if (begun?.step !== "begun") return undefined;
  const { cycle } = begun;
  // A lost journal may give a number again.
  const later = records.slice(records.lastIndexOf(begun));
  const ofIt = later.filter((record) => "cycle" in record && record.cycle === cycle);
  const evaluated = ofIt.find(({ step }) => step === "evaluated");
  const scores = evaluated?.step === "evaluated"
    ? { loss: lossOf(evaluated.candidate), lossInUse: lossOf(evaluated.inUse) }
    : {};
  const end = ofIt.findLast(({ step }) =>
    step === "promoted" || step === "rejected" || step === "failed"
  );
  if (end?.step === "promoted") return { state: "promoted", cycle, ...scores };
  if (end?.step === "rejected" || end?.step === "failed") {
    return { state: end.step, cycle, ...scores, why: end.why };
  }
  return undefined;
}

/** JSON has no infinity: such a loss is left out of a report. */
const lossOf = ({ loss }: Score) => Number.isFinite(loss) ? loss : undefined;

function report(order: Order, { box, state }: BoxWork, findings: Findings): BoxReport {
  const { cycle, ...facts } = findings;
  const { inUse } = state.standing;
  const release = inUse === null ? undefined : modelRelease(state.model(inUse));
  const isThere = cycle !== undefined && isModelThere(state.held, cycle);
  return {
    box,
    sequence: order.sequence,
    release: order.target === null ? null : releaseId(order.target),
    ...facts,
    gainKept: isThere ? certifiedGainKept(`${state.model(cycle)}/model`) : undefined,
    inUse: release?.name ?? inUse ?? "base",
    at: new Date().toISOString(),
    version: VERSION,
  };
}
