/**
 * Tunes the scales of a merged model's adapted matrices on data and keeps the codes: the part of an adapter's
 * gain that rounding took away comes back without another byte in the file.
 */
import { UsageError } from "../errors.ts";
import type { RowCut } from "../data/row_cuts.ts";
import type { TokenBatch } from "../data/targets.ts";
import { toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { indexGraph } from "../lora/graph_index.ts";
import { initAdapter, type RandomSource } from "../lora/init.ts";
import type { LowRankUpdate } from "../lora/merge/delta.ts";
import { findModules } from "../lora/modules.ts";
import { hasScales, injectScales, scaleGrid, scalesName } from "../lora/scale_adapter.ts";
import type { LoraSite } from "../lora/targets.ts";
import type { DequantForm } from "../ops/dequant_form.ts";
import type { Runner } from "../runtime/runner.ts";
import { floatsOn } from "./choose_arithmetic.ts";
import { graphOptimizer } from "./graph_optimizer.ts";
import { train } from "./loop.ts";
import { MicroBatches, TOKENS_AT_ONCE } from "./micro_batches.ts";
import { OPTIMIZER_DEFAULTS } from "./update_rules.ts";
import { PlannedModel } from "./planned_model.ts";
import { packingRules, type PlannedModelOptions } from "./planned_options.ts";
import type { BatchSource } from "./step.ts";

export interface TuneOptions {
  /** Paths of the modules whose scales are tuned. */
  readonly paths: ReadonlySet<string>;
  readonly objective: "causal" | "classification";
  readonly data: BatchSource<TokenBatch>;
  /** A language model to distil from; default none: what counts is the loss over the data's labels. */
  readonly teacher?: Model;
  /** Updates of the scales. */
  readonly steps: number;
  /** Batches to skip at the start of the data; default 0. */
  readonly skip?: number;
  /** Rank of the change of a matrix's scales; default 16. */
  readonly rank?: number;
  /** Default 1e-2. */
  readonly learningRate?: number;
  /** Draws the change's A. */
  readonly random: RandomSource;
  /** Parts of a batch that are computed at the same time. */
  readonly shards?: number;
  /** Bytes of activations that are kept for the backward pass; default 0. */
  readonly keepBytes?: number;
  readonly dequantForm?: DequantForm;
  readonly passControl?: PlannedModelOptions["passControl"];
  /** Vocabulary entries per chunk of a language model's head. */
  readonly headChunk?: number;
  /** Which sequences run together. */
  readonly cut?: RowCut;
  /** Called after each update. */
  readonly onStep?: (step: number, loss: number) => void;
  readonly signal?: AbortSignal;
}

/** Targets of an update at which the learning rate applies in full, and the least share of it. */
const FULL_RATE = { targets: 400, leastShare: 0.2 };

/**
 * A learning rate for updates of so many target tokens: gradients of few are noisy, and the loss of scales
 * that were tuned on answers of thirty tokens rose at the rate that suits whole texts.
 */
export function rateFor(learningRate: number, targets: number): number {
  const { targets: full, leastShare } = FULL_RATE;
  return learningRate * Math.min(1, Math.max(leastShare, targets / full));
}

/**
 * Changes of the scales by module path, as {@linkcode ModuleChange} has them. Modules whose rows or blocks
 * have no scales are left alone.
 *
 * @throws {UsageError} if no module has such scales
 * @throws {UnsupportedError} if a teacher is given whose head does not run in chunks
 * @throws {AbortError} if the signal fires
 */
export async function tuneScales(
  runner: Runner,
  model: Model,
  options: TuneOptions,
): Promise<ReadonlyMap<string, LowRankUpdate>> {
  const { paths, objective, data, steps, rank = 16, learningRate = 1e-2, shards = 1 } = options;
  const index = indexGraph(model.graph);
  const sites = findModules(model).filter((module) =>
    paths.has(module.path) && hasScales(index, module)
  )
    .map((module): LoraSite => ({ module, rank, alpha: rank, scale: 1, dropout: 0 }));
  if (sites.length === 0) {
    throw new UsageError(
      (name) =>
        "None of the adapted layers has scales of its rows or blocks to tune; merge with " +
        `${name("method", "compensated")}, or with ${name("allowLarger")}`,
    );
  }
  const start = initAdapter(
    sites,
    "kaiming",
    options.random,
    ({ module }) => scaleGrid(index, module).blocks,
  );
  const injected = injectScales(model, sites, start);
  using resources = new DisposableStack();
  const distils = options.teacher !== undefined && objective === "causal";
  const common = {
    runner,
    objective,
    arithmetic: floatsOn(runner, options.dequantForm),
    passControl: options.passControl,
    headChunk: options.headChunk,
    shards,
    // The teacher looks at whole sequences.
    ...(distils ? { distils: true, dividesSequences: false } : {}),
  };
  const planned: PlannedModelOptions = {
    ...common,
    model: injected.model,
    trainable: new Set(injected.trainable.keys()),
    keepBytes: options.keepBytes,
    teacher: distils
      ? resources.use(
        new PlannedModel({ ...common, model: options.teacher!, trainable: new Set() }),
      )
      : undefined,
  };
  using step = new PlannedModel(planned);
  using optimizer = await graphOptimizer(runner, step.parameters, {
    ...OPTIMIZER_DEFAULTS,
    name: "adamw",
    weightDecay: 0,
  }, { shards });
  const atOnce = { tokens: TOKENS_AT_ONCE, packing: packingRules(planned, {}) };
  await train({
    model: new MicroBatches(step, atOnce, shards, options.cut),
    optimizer,
    data: after(data, options.skip ?? 0),
    settings: {
      totalSteps: steps,
      accumulation: 1,
      schedule: {
        name: "linear",
        learningRate,
        warmupSteps: Math.min(2, steps - 1),
        totalSteps: steps,
      },
      maxGradNorm: 1,
      stepsPerReport: steps + 1,
      stepsPerEval: steps + 1,
      valBatches: 0,
      saveEvery: steps + 1,
      patience: 0,
      loadBest: false,
      seed: 0,
    },
    callbacks: { onStep: ({ step, loss }) => options.onStep?.(step, loss) },
    signal: options.signal,
  });
  options.signal?.throwIfAborted();
  const values = new Map(step.parameters.map(({ name, value }) => [name, toNumbers(value.read())]));
  return new Map(sites.map(({ module: { path } }) => [path, {
    rank,
    scale: 1,
    loraA: values.get(scalesName(path, "A"))!,
    loraB: values.get(scalesName(path, "B"))!,
  }]));
}

/** Data from a later batch on, and from the start again at its end. */
function after(data: BatchSource<TokenBatch>, skip: number): BatchSource<TokenBatch> {
  return {
    batches: (epoch) => data.batches(epoch),
    batch(epoch, index) {
      const count = data.batches(epoch);
      const at = epoch * count + index + skip;
      return data.batch(Math.floor(at / count), at % count);
    },
  };
}
