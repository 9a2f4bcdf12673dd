/** The work of `graft bench methods`: trains each method, merges what merges, times all of them. */
import { join } from "@std/path";
import { ForwardModel, type ForwardShape, timeForward } from "../../bench/forward_times.ts";
import { BENCH_METHODS, type BenchMethod, type BenchMethodName } from "../../bench/methods.ts";
import { asFlag } from "../../config/parameter.ts";
import { GraftError, UsageError } from "../../errors.ts";
import { elementCount } from "../../graph/tensor.ts";
import type { Model } from "../../graph/types.ts";
import type { Adapter } from "../../lora/adapter_files.ts";
import { applyAdapter } from "../../lora/apply.ts";
import { loadAdapter } from "../../model/adapter_dir.ts";
import { virtualIdsOf } from "../../model/virtual_text.ts";
import { readGenerationConfig } from "../../model/generation_config.ts";
import { findModelFile, homeOf } from "../../model/find_model.ts";
import { loadOnnx } from "../../model/load_onnx.ts";
import { classCount, modelKind } from "../../model/model_kind.ts";
import type { Runner } from "../../runtime/runner.ts";
import { median } from "../../statistics.ts";
import { startSelf } from "../../system/own_process.ts";
import { merge } from "../../tasks/merge.ts";
import { runtimeArguments } from "../runtime_flags.ts";
import type { BenchMethodsFlags } from "./bench_methods_flags.ts";

/** Figures of one method, under the names that `--json` prints. */
export interface MethodFigures {
  /** Name of the method, `base`, or `lora, merged`. */
  readonly method: string;
  /** Parameters that were trained, a new head included. */
  readonly trainable_parameters: number;
  readonly learning_rate?: number;
  /** Real tokens a second in training. */
  readonly tokens_per_s?: number;
  /** Peak memory of the training process. */
  readonly peak_rss_mb?: number;
  /** Mean loss on the held-out data. */
  readonly loss?: number;
  /** Share of right answers there; classifiers only. */
  readonly accuracy?: number;
  /** In the order of the shapes. */
  readonly latency: readonly ShapeLatency[];
}

/** How long runs of a shape take. */
export interface ShapeLatency {
  readonly batch: number;
  readonly length: number;
  /** Median milliseconds of a run. */
  readonly ms: number;
  /** Median over the rounds of the time divided by the base's in the same round. */
  readonly ratio: number;
}

/** What a training has found. */
interface Trained {
  readonly name: BenchMethodName;
  readonly folder: string;
  readonly learningRate: number;
  readonly tokensPerSecond?: number;
  readonly peakMb?: number;
  readonly before: HeldOut;
  readonly after: HeldOut;
}

/** Results on held-out data. */
interface HeldOut {
  readonly loss?: number;
  readonly accuracy?: number;
}

/** A model to time, with what is known of it. */
interface Contestant {
  readonly model: Model;
  /** Virtual tokens that every text is longer by. */
  readonly virtualIds?: readonly number[];
  readonly figures: Omit<MethodFigures, "latency">;
}

/** Ids below it are in every vocabulary. */
const FEWEST_TOKENS = 256;
/** Fewest rounds of a shape, however long they take, and most. */
const [MIN_ROUNDS, MAX_ROUNDS] = [5, 200];

/**
 * Trains, merges and times; the first of the result is the base, the second the base once more.
 *
 * @param folder an empty one, for adapters and merged model
 * @param note told what begins
 * @throws {GraftError} as training, merging and running do
 */
export async function compareMethods(
  flags: BenchMethodsFlags,
  shapes: readonly ForwardShape[],
  runner: Runner,
  folder: string,
  note: (line: string) => void,
): Promise<readonly MethodFigures[]> {
  const file = findModelFile(flags.model);
  const { maxLength } = readGenerationConfig(homeOf(file));
  const long = shapes.find(({ length }) => length > (maxLength ?? Infinity));
  if (long !== undefined) {
    throw new UsageError(
      `--shapes: the model takes ${maxLength} tokens at most: current value is ` +
        `${long.batch}x${long.length}`,
    );
  }
  const trained: Trained[] = [];
  for (const name of flags.methods as readonly BenchMethodName[]) {
    note(`Training: ${methodOf(name).title}`);
    trained.push(await train(flags, name, join(folder, name)));
  }
  using resources = new DisposableStack();
  const base = resources.use(loadOnnx(file));
  const atBase: Omit<MethodFigures, "latency" | "method"> = {
    trainable_parameters: 0,
    ...trained[0]?.before,
  };
  const contestants: Contestant[] = [
    { model: base.model, figures: { method: "base", ...atBase } },
    { model: base.model, figures: { method: "base again", ...atBase } },
  ];
  for (const one of trained) {
    const { adapter } = loadAdapter(one.folder);
    const applied = applyAdapter(base.model, adapter);
    const figures = {
      method: one.name,
      trainable_parameters: trainedCount(base.model, adapter),
      learning_rate: one.learningRate,
      tokens_per_s: one.tokensPerSecond,
      peak_rss_mb: one.peakMb,
      ...one.after,
    };
    if (methodOf(one.name).merges) {
      note(`Merging: ${methodOf(one.name).title}`);
      const merged = await mergeOne(flags, one.folder, join(folder, `${one.name}-merged`));
      const loaded = resources.use(loadOnnx(merged.file));
      contestants.push({
        model: loaded.model,
        figures: { ...figures, method: `${one.name}, merged`, ...merged.heldOut },
      });
    }
    const virtualIds = virtualIdsOf(base.model, adapter.config.virtualTokens);
    contestants.push({ model: applied.model, virtualIds, figures });
  }
  const times = await timeAll(contestants, shapes, runner, { ...flags, maxLength }, note);
  return contestants.map(({ figures }, i) => ({ ...figures, latency: times[i] }));
}

/** Elements of all tensors that training has changed. */
function trainedCount(base: Model, adapter: Adapter): number {
  // As it is trained: a finished adapter of DoRA has factors in the place of magnitudes.
  const { trainable } = applyAdapter(base, adapter, { trains: true });
  return [...trainable.values()].reduce((sum, { dims }) => sum + elementCount(dims), 0);
}

/** Latencies by model, then by shape. */
async function timeAll(
  contestants: readonly Contestant[],
  shapes: readonly ForwardShape[],
  runner: Runner,
  { seconds, maxLength }: BenchMethodsFlags & { readonly maxLength?: number },
  note: (line: string) => void,
): Promise<readonly (readonly ShapeLatency[])[]> {
  const [{ model: { graph } }] = contestants;
  const causal = modelKind(graph) === "causal";
  using resources = new DisposableStack();
  const opened: ForwardModel[] = [];
  for (const { model, virtualIds } of contestants) {
    const how = { causal, label: "bench methods", virtualIds, maxLength };
    opened.push(resources.use(await ForwardModel.open(runner, model, how)));
  }
  const found: ShapeLatency[][] = contestants.map(() => []);
  for (const shape of shapes) {
    note(`Timing ${shape.batch} × ${shape.length}`);
    const times = await timeForward(opened, shape, {
      vocabulary: (causal ? classCount(graph) : undefined) ?? FEWEST_TOKENS,
      minRounds: MIN_ROUNDS,
      maxRounds: MAX_ROUNDS,
      budgetMs: 1000 * seconds,
    });
    for (const [i, own] of times.entries()) {
      const ratio = median(own.map((time, round) => time / times[0][round]));
      found[i].push({ ...shape, ms: median(own), ratio });
    }
  }
  return found;
}

/** The flags of `graft train` that choose a method. */
function flagsOf({ parameters }: BenchMethod): readonly string[] {
  return Object.entries(parameters).flatMap(([key, value]) =>
    typeof value === "boolean" ? [asFlag(key, value)] : [asFlag(key), value]
  );
}

const methodOf = (name: BenchMethodName): BenchMethod => BENCH_METHODS[name];

/** Trains in a process of its own, whose peak memory is then the training's. */
async function train(
  flags: BenchMethodsFlags,
  name: BenchMethodName,
  folder: string,
): Promise<Trained> {
  const method = methodOf(name);
  const learningRate = flags.learningRates[name] ?? method.learningRate;
  const child = startSelf([
    ...["train", "--model", flags.model, "--data", flags.data, "--adapter-path", folder],
    ...["--iters", `${flags.iters}`, "--batch-size", `${flags.batchSize}`],
    ...["--max-seq-length", `${flags.maxSeqLength}`, "--rank", `${flags.rank}`],
    ...["--lora-alpha", `${flags.loraAlpha}`, "--target-modules", flags.targetModules.join()],
    ...["--learning-rate", `${learningRate}`, "--numeric", flags.numeric],
    ...["--validation-split", `${flags.validationSplit}`],
    ...["--val-batches", `${flags.valBatches}`, "--steps-per-eval", `${flags.iters}`],
    ...["--steps-per-report", `${flags.iters}`, "--seed", `${flags.seed}`],
    ...["--report-to", "jsonl", ...flagsOf(method), ...runtimeArguments(flags)],
  ]);
  const [{ code }] = await Promise.all([child.status, child.stdout.cancel()]);
  if (code !== 0) {
    throw new GraftError(`Cannot train ${method.title}: the reason is above`, code);
  }
  const records = Deno.readTextFileSync(join(folder, "metrics.jsonl")).trim().split("\n")
    .map((line): Metrics => JSON.parse(line));
  const report = records.findLast(({ tokens_per_second }) => tokens_per_second !== undefined);
  const held = records.filter(({ val_loss }) => val_loss !== undefined)
    .map(({ val_loss, val_accuracy }) => ({ loss: val_loss, accuracy: val_accuracy }));
  return {
    name,
    folder,
    learningRate,
    tokensPerSecond: report?.tokens_per_second,
    peakMb: report?.peak_memory_mb,
    before: held[0] ?? {},
    after: held.at(-1) ?? {},
  };
}

/** What is read of a line of `metrics.jsonl`. */
interface Metrics {
  readonly tokens_per_second?: number;
  readonly peak_memory_mb?: number;
  readonly val_loss?: number;
  readonly val_accuracy?: number;
}

async function mergeOne(flags: BenchMethodsFlags, adapter: string, savePath: string) {
  const { ortLib, ep, epOption, threads, valBatches } = flags;
  const { chosen: { evaluated } } = await merge({
    ...{ model: flags.model, adapterPath: [adapter], savePath, ortLib, ep, epOption, threads },
    // Without held-out data nothing is measured.
    valBatches: valBatches === 0 ? 1 : valBatches,
    latency: false,
    force: true,
  });
  const heldOut: HeldOut = { loss: evaluated?.loss, accuracy: evaluated?.accuracy };
  return { file: findModelFile(savePath), heldOut };
}
