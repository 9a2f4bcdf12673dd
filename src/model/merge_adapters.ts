/** Merges adapters into a model on disk, measures ways of doing so and keeps the best. */
import { dirname } from "@std/path";
import { RefusedError } from "../errors.ts";
import { checkBase } from "../lora/apply.ts";
import { modelDigest } from "../lora/digest.ts";
import { besideNote, certificateJson, type Decision } from "../lora/merge/certificate_report.ts";
import {
  adapterChanges,
  bestCandidate,
  chooseCandidate,
  type Evaluated,
  gainKept,
  LEAST_GAIN_KEPT,
  type Measurements,
  type MergeMethod,
  MIN_GAIN_KEPT,
  type WeightedAdapter,
  withAdapters,
} from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { giveWay, untilAborted } from "./give_way.ts";
import { clearLeftovers } from "./leftovers.ts";
import { measureLatency, measureModel } from "./measure_merge.ts";
import { MergeCandidates, type References } from "./merge_candidates.ts";
import { methodsFor } from "./merge_methods.ts";
import { writes } from "./merge_peers.ts";
import { MergeProgress } from "./merge_progress.ts";
import type { MergeData, MergeRequest } from "./merge_request.ts";
import { configWithLabels } from "./model_labels.ts";
import { checkTarget, type StagedDirectory } from "./staged_directory.ts";
import { stagesOf, tryWays } from "./try_ways.ts";
import { checkNotBase } from "./write_model.ts";

/** Name of the certificate in the written folder. */
export const CERTIFICATE_FILE = "certificate.json";

/**
 * Merges, measures, and writes the smallest candidate that keeps enough of the adapters' gain.
 *
 * @param progress tracks where the time goes; default: one that reports to the request
 * @returns what was measured and decided
 * @throws {UsageError} where the folder exists or is the base's, or a method needs data
 * @throws {BadInputError} for an adapter of another base
 * @throws {RefusedError} where no candidate keeps enough, or nothing would change
 * @throws {RuntimeFailure} where the runtime could not run what a method makes
 */
export async function mergeAdapters(
  runner: Runner,
  given: MergeRequest,
  progress: MergeProgress = new MergeProgress(given.onProgress),
): Promise<Decision> {
  const request = { ...given, data: interruptible(given.data, given.signal) };
  const { base, adapters, data, savePath, force = false, signal } = request;
  checkNotBase(savePath, base.path);
  clearLeftovers(dirname(savePath));
  checkTarget(savePath, force);
  for (const { adapter, label } of adapters) checkBase(adapter, base.model, label);
  const changes = adapterChanges(base.model, adapters);
  if (changes.beside !== undefined) request.onNote?.(besideNote(changes.beside));
  // Before any measuring, which takes minutes.
  const methods: readonly MergeMethod[] = methodsFor(
    runner,
    {
      base: base.model,
      method: request.method,
      measured: data !== undefined,
      tunes: request.tune !== undefined,
      allowLarger: request.allowLarger,
      onNote: request.onNote,
    },
    changes,
  );
  if (data !== undefined) progress.expect("base", "adapter");
  progress.expect(...stagesOf(methods[0]), "timing");
  const adapted = data && withAdapters(base.model, changes);
  // A model without logits gets the new head, so that what the adapter adds to it shows.
  const references = adapted === undefined ? {} : await referencesOf(
    (model, which, what) => measureModel(runner, model, request, progress, [which, what]),
    changes.addHead?.(base.model) ?? base.model,
    adapted,
    request.onNote,
  );
  const context = { runner, request, changes, adapted, references, progress };
  using candidates = new MergeCandidates(context);
  await tryWays(context, methods, candidates);
  const found = { baseSizeBytes: base.sizeBytes, ...references, candidates: candidates.all };
  const decided = decide(found, request);
  const written = candidates.written(decided.chosen.method)!;
  const latency = await measureLatency(runner, request, written, progress);
  const chosen = latency === undefined ? decided.chosen : { ...decided.chosen, latency };
  const measured = {
    ...found,
    candidates: found.candidates.map((other) => other === decided.chosen ? chosen : other),
  };
  const decision: Decision = {
    ...decided,
    chosen,
    measured,
    addsHead: changes.addHead !== undefined,
    beside: changes.beside,
    baseDigest: modelDigest(base.model),
    adapters: adapters.map(({ label, weight }) => ({ label, weight })),
    runtime: runner.description,
    measuredOn: data?.source,
  };
  const { directory } = written;
  writeLabels(directory, adapters);
  directory.replace(CERTIFICATE_FILE, new TextEncoder().encode(certificateJson(decision)));
  await giveWay(signal); // the last moment to stop: from here on the target is replaced
  if (writes(request.peers)) directory.commit(force);
  return decision;
}

function interruptible(
  data: MergeData | undefined,
  signal: AbortSignal | undefined,
): MergeData | undefined {
  return data && {
    ...data,
    train: { ...data.train, batches: () => untilAborted(data.train.batches(), signal) },
    heldOut: () => untilAborted(data.heldOut(), signal),
  };
}

/** Class names of a classifier go where the base's own would be: into `config.json`. */
function writeLabels(directory: StagedDirectory, adapters: readonly WeightedAdapter[]): void {
  const labels = adapters.map(({ adapter }) => adapter.card?.labels).find((l) => l !== undefined);
  if (labels === undefined) return;
  const text = configWithLabels(directory.readText("config.json"), labels);
  directory.replace("config.json", new TextEncoder().encode(text));
}

/** Figures of the base and of the base with its adapters, against which every way is held. */
async function referencesOf<M>(
  measure: (model: M, which: "base" | "adapter", what: string) => Promise<Evaluated>,
  base: M,
  adapted: M,
  onNote: MergeRequest["onNote"],
): Promise<Required<References>> {
  const references = {
    base: await measure(base, "base", "base"),
    adapter: await measure(adapted, "adapter", "with adapter"),
  };
  onNote?.(
    `Held-out loss: base ${references.base.loss.toFixed(4)}, with adapter ` +
      references.adapter.loss.toFixed(4),
  );
  checkFinite(references.base, "the base");
  checkFinite(references.adapter, "the base with the adapter");
  return references;
}

/** Nothing can be kept of what is no number, whatever `--force` says. */
function checkFinite({ loss }: Evaluated, what: string): void {
  if (Number.isFinite(loss)) return;
  throw new RefusedError(
    `Refused the merge: ${what} has a loss of ${loss} on the held-out data: ` +
      "look at it with `graft eval`; an adapter that diverged has to be trained again",
  );
}

/**
 * @throws {RefusedError} where no candidate keeps enough and `force` is not given
 */
function decide(
  measured: Measurements,
  { minGainKept = MIN_GAIN_KEPT, force = false, allowLarger = false }: MergeRequest,
): Pick<Decision, "chosen" | "forced" | "minGainKept"> {
  const chosen = chooseCandidate(measured, minGainKept);
  if (chosen !== undefined) return { chosen, forced: false, minGainKept };
  const best = bestCandidate(measured)!;
  if (force) return { chosen: best, forced: true, minGainKept };
  const least = Math.min(minGainKept, LEAST_GAIN_KEPT);
  const { base, adapter } = measured;
  const share = gainKept(base!, adapter!, best.evaluated!);
  throw new RefusedError((name) =>
    share === undefined
      ? `Refused the merge: the adapter gains nothing on the held-out data (loss ${
        adapter!.loss.toFixed(4)
      } against the base's ${base!.loss.toFixed(4)}) and merging makes it worse (${
        best.evaluated!.loss.toFixed(4)
      }); ${name("force")} writes it all the same`
      : `Refused the merge: the best way ("${best.method}") keeps ${
        (share * 100).toFixed(1)
      }% of the adapter's gain, less than ${(least * 100).toFixed(1)}%: give more training data, ` +
        `${allowLarger ? "" : `${name("allowLarger")}, `}a lower ${name("minGainKept")} or ` +
        `${name("method", "float")}, add ${name("force")}, or train an adapter of scales ` +
        `(${name("train.adapterType", "scales")}), which merges exactly`
  );
}
