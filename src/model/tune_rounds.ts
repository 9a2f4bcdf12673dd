/** Tunes the scales of what a way of merging has written, in rounds. */
import { basename, join } from "@std/path";
import type { RefusedError } from "../errors.ts";
import {
  type Candidate,
  compareMerged,
  gainKept,
  type MatrixReport,
  MIN_GAIN_KEPT,
} from "../lora/merge/mod.ts";
import { openMapped } from "../system/mapped_file.ts";
import { loadOnnx } from "./load_onnx.ts";
import { lossOf, type MergeCandidates, type MergeContext } from "./merge_candidates.ts";
import type { WrittenMerge } from "./write_merged.ts";
import { writeTuned } from "./write_tuned.ts";

/** Rounds of tuning from one start. */
const ROUNDS = 3;
/**
 * Learning rates by what is tuned. Fitted scales lack what their blocks cannot
 * express, and learn it from the data's labels. What was rounded well is near base + adapter, from which
 * it is distilled: labels took it away from there (97.8% of a gain became 97.4%, distilled 98.3%).
 */
const RATES = { fitted: 1e-2, rounded: 3e-3 };
/**
 * Share of the gain that another round may be expected to bring, or what the one before has brought where
 * that is more. Labels go on teaching: of the adapter of two projections 73% were kept before tuning, 95%
 * after twelve steps and 125% after thirty-six. Distillation ends at the teacher.
 */
const WITHIN_REACH = { fitted: 0.2, rounded: 0.05 };

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
  const isFitted = start.method === "fitted";
  const learningRate = isFitted ? RATES.fitted : RATES.rounded;
  const reach = isFitted ? WITHIN_REACH.fitted : WITHIN_REACH.rounded;
  const teacher = isFitted ? undefined : context.adapted;
  let from = start;
  let before = candidates.get(start.method);
  for (let round = 0; round < ROUNDS; round++) {
    const how = { round, learningRate, teacher };
    const tuned = await writeTuned(runner, request, changes, from, how, progress);
    if (!("directory" in tuned)) return round === 0 ? tuned.refused : undefined;
    candidates.keep(tuned);
    const found = await candidates.measure(tuned);
    const isBetter = before === undefined || lossOf(found) < lossOf(before);
    const isOver = progress.elapsed > (request.timeBudget ?? Infinity);
    if (candidates.isEnough(found) || !isBetter || isOver) return;
    if (!isWithinReach(context, before, found, reach)) return;
    [from, before] = [tuned, found];
    progress.expect("tuning", "scales", "measuring");
  }
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
function isWithinReach(
  { references: { base, adapter }, request: { minGainKept = MIN_GAIN_KEPT } }: MergeContext,
  before: Candidate | undefined,
  found: Candidate,
  reach: number,
): boolean {
  if (base === undefined || adapter === undefined) return false;
  const [kept, keptBefore] = [found, before].map((candidate) =>
    candidate?.evaluated && gainKept(base, adapter, candidate.evaluated)
  );
  // An adapter that gains nothing is held to its loss, which every round lowers.
  if (kept === undefined) return true;
  return minGainKept - kept < Math.max(reach, kept - (keptBefore ?? kept));
}
