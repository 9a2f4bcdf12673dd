/** Tunes the scales of what a way of merging has written, in rounds. */
import { basename, join } from "@std/path";
import type { RefusedError } from "../errors.ts";
import {
  type Candidate,
  compareMerged,
  gainKept,
  isWithinReach,
  type MatrixReport,
  MIN_GAIN_KEPT,
  type TuningStart,
} from "../lora/merge/mod.ts";
import { openMapped } from "../system/mapped_file.ts";
import { loadOnnx } from "./load_onnx.ts";
import {
  lossOf,
  type MergeCandidates,
  type MergeContext,
  type References,
} from "./merge_candidates.ts";
import { asFirst } from "./merge_peers.ts";
import type { WrittenMerge } from "./write_merged.ts";
import { writeTuned } from "./write_tuned.ts";

/** Rounds of tuning from one start. */
const ROUNDS = 3;
/**
 * Learning rates by what is tuned. Fitted scales lack what their blocks cannot express, and learn it
 * from the data's labels. What was rounded well is near base + adapter, from which it is distilled:
 * labels took it away from there (97.8% of a gain became 97.4%, distilled 98.3%).
 */
const RATES: Readonly<Record<TuningStart, number>> = { fitted: 1e-2, rounded: 3e-3 };

/**
 * Tunes until enough is kept, or more rounds would not bring it.
 *
 * @param start what to tune; its own figures count where it is a candidate
 * @returns why it cannot be tuned; `undefined` where it was
 */
export async function tuneRounds(
  context: MergeContext,
  candidates: MergeCandidates,
  start: WrittenMerge,
): Promise<RefusedError | undefined> {
  const refused = await tune(context, candidates, start);
  const best = candidates.written("tuned");
  if (best !== undefined) candidates.describe("tuned", await reportsOf(context, best));
  return refused;
}

async function tune(
  context: MergeContext,
  candidates: MergeCandidates,
  start: WrittenMerge,
): Promise<RefusedError | undefined> {
  const { runner, request, changes, progress } = context;
  const kind: TuningStart = start.method === "fitted" ? "fitted" : "rounded";
  const learningRate = RATES[kind];
  const teacher = kind === "fitted" ? undefined : context.adapted;
  let from = start;
  let before = candidates.get(start.method);
  for (let round = 0; round < ROUNDS; round++) {
    const how = { round, learningRate, teacher };
    const tuned = await writeTuned(runner, request, changes, from, how, progress);
    if (!("directory" in tuned)) return round === 0 ? tuned.refused : undefined;
    candidates.keep(tuned);
    const found = await candidates.measure(tuned);
    reportRound(context, found, round);
    const isBetter = before === undefined || lossOf(found) < lossOf(before);
    const { timeBudget = Infinity, peers } = request;
    const isOver = await asFirst(peers, progress.elapsed > timeBudget);
    if (candidates.isEnough(found) || !isBetter || isOver) return;
    if (!mayBeReached(context, kind, before, found)) return;
    [from, before] = [tuned, found];
    progress.expect("tuning", "scales", "measuring");
  }
}

function reportRound({ references, request }: MergeContext, found: Candidate, round: number): void {
  const kept = shareKept(references, found);
  if (kept === undefined) return;
  request.onNote?.(
    `Scales tuned, round ${round + 1}: ${(100 * kept).toFixed(1)}% of the gain kept`,
  );
}

/** Share of the adapter's gain that a candidate keeps; `undefined` where none is known. */
function shareKept(
  { base, adapter }: References,
  found: Candidate | undefined,
): number | undefined {
  return base && adapter && found?.evaluated && gainKept(base, adapter, found.evaluated);
}

/** What tuning made of the matrices, of which a start's reports no longer hold. */
async function reportsOf(
  { request: { base }, changes, progress }: MergeContext,
  { directory, matrices }: WrittenMerge,
): Promise<readonly MatrixReport[]> {
  return await progress.run("comparing", async (tell) => {
    tell("Comparing weights", 0);
    using after = loadOnnx(join(directory.path, basename(base.path)), openMapped);
    return await compareMerged(base.model, changes.changes, after.model, matrices);
  });
}

/** Whether another round may bring what is missing. */
function mayBeReached(
  { references, request: { minGainKept: aim = MIN_GAIN_KEPT } }: MergeContext,
  kind: TuningStart,
  before: Candidate | undefined,
  found: Candidate,
): boolean {
  if (references.base === undefined) return false;
  const [kept, keptBefore] = [found, before].map((candidate) => shareKept(references, candidate));
  // An adapter that gains nothing is held to its loss, which every round lowers.
  return kept === undefined || isWithinReach(kind, { kept, keptBefore, aim });
}
