/** What a merge measures of models: losses on held-out data, sizes and run times. */
import { basename, join } from "@std/path";
import { evaluateModel } from "../eval/evaluate.ts";
import type { Model } from "../graph/types.ts";
import type { Candidate, Evaluated, Latency } from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { openMapped } from "../system/mapped_file.ts";
import { giveBackFreed } from "../system/memory.ts";
import { unpadded } from "./equal_lengths.ts";
import { LatencyBench, type LatencyOptions, whyNotLoaded, whyNotTimed } from "./latency.ts";
import { loadOnnx } from "./load_onnx.ts";
import { alignFolder, writes } from "./merge_peers.ts";
import type { MergeProgress, MergeStage } from "./merge_progress.ts";
import type { MergeData, MergeRequest } from "./merge_request.ts";
import type { WrittenMerge } from "./write_merged.ts";

/** Held-out targets whose logits are compared. */
const LOGIT_ROWS = 64;

/**
 * A model's figures on the held-out data.
 *
 * @param what the model is, for whoever looks on
 */
export async function measureModel(
  runner: Runner,
  model: Model,
  { data, evaluate: evaluator, peers }: MergeRequest,
  progress: MergeProgress,
  [stage, what]: readonly [MergeStage, string],
): Promise<Evaluated> {
  const { heldOut, objective, heldOutBatches, known } = data!;
  return await progress.run(stage, async (tell) => {
    const batches = counted(
      heldOut(),
      (done) => tell(`Measuring (${what}): batch ${done}`, done / (heldOutBatches ?? Infinity)),
    );
    const options = { objective, logitRows: LOGIT_ROWS, peers };
    const found = evaluator === undefined
      ? await evaluateModel(runner, model, batches, options)
      : await evaluator(model, batches, { ...options, known: knownOf(known, stage) });
    giveBackFreed();
    return { ...found, logitRows: Math.min(LOGIT_ROWS, found.count) };
  });
}

const knownOf = (known: MergeData["known"], stage: MergeStage) =>
  stage === "base" || stage === "adapter" ? known?.[stage] : undefined;

async function* counted<T>(
  items: Iterable<T> | AsyncIterable<T>,
  onItem: (number: number) => void,
): AsyncGenerator<T> {
  let number = 0;
  for await (const item of items) {
    onItem(++number);
    yield item;
  }
}

/** A way of merging as it was written, with its figures where there is held-out data. */
export async function measureWritten(
  runner: Runner,
  request: MergeRequest,
  { method, directory, matrices }: WrittenMerge,
  progress: MergeProgress,
): Promise<Candidate> {
  if (request.peers !== undefined) await alignFolder(request.peers, directory.path);
  using written = loadOnnx(join(directory.path, basename(request.base.path)), openMapped);
  const { model, sizeBytes } = written;
  const measured = request.data === undefined
    ? {}
    : { evaluated: await measureModel(runner, model, request, progress, ["measuring", method]) };
  return { method, sizeBytes, matrices, ...measured };
}

/** How long a written model's runs take beside the base's; `undefined` where that is not to be measured. */
export async function measureLatency(
  runner: Runner,
  request: MergeRequest,
  { directory }: WrittenMerge,
  progress: MergeProgress,
): Promise<Latency | undefined> {
  return await progress.run("timing", async (tell) => {
    using bench = await openBench(runner, request);
    if (bench === undefined) return undefined;
    const { base, latency, signal } = request;
    tell("Timing", 0);
    const path = join(directory.path, basename(base.path));
    using written = loadOnnx(path, openMapped);
    const merged = { path, graph: written.model.graph };
    return await bench.measure(merged, { ...timing(latency), signal });
  });
}

const timing = (latency: MergeRequest["latency"]): LatencyOptions =>
  typeof latency === "object" ? latency : {};

async function openBench(
  runner: Runner,
  { base, data, latency = true, peers, onNote }: MergeRequest,
): Promise<LatencyBench | undefined> {
  if (data === undefined || latency === false || !writes(peers)) return undefined;
  const why = whyNotTimed(base.sizeBytes, timing(latency)) ?? whyNotLoaded(base.model);
  if (why !== undefined) {
    onNote?.(why);
    return undefined;
  }
  for await (const batch of data.heldOut()) {
    for (const row of unpadded(batch)) {
      return await LatencyBench.open(runner, { path: base.path, graph: base.model.graph }, row);
    }
  }
  return undefined;
}
