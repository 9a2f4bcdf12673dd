/** The peak memory of a training run, predicted for each choice of what it keeps. */
import { cutBatch, firstTokens } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { byteLength } from "../graph/dtype.ts";
import { elementCount } from "../graph/tensor.ts";
import { parameterBytes } from "../model/predict_training.ts";
import { type Arithmetic, changed, floatsBeside, numericOf } from "../plan/arithmetic.ts";
import { comparedBytes, largestPieceBytes } from "../plan/compared_pieces.ts";
import { type PredictedMemory, predictMemory, type ShapesToPredict } from "../plan/memory.ts";
import type { StepKind } from "../plan/options.ts";
import type { TrainingPlan } from "../plan/plan.ts";
import type { Schedule } from "../plan/schedule.ts";
import type { PredictedStep } from "../plan/step_simulation.ts";
import { collectGarbage } from "../system/memory.ts";
import { PROCESS_MEMORY } from "../system/process_memory.ts";
import { batchKinds } from "../train/batch_kinds.ts";
import { checkedPart } from "../train/check_fast.ts";
import { comparedPart } from "../train/compare_forward.ts";
import { divideBatch, ifDivisible } from "../train/divide_batch.ts";
import { partSize, sequencesAtOnce, tokensEach } from "../train/micro_batches.ts";
import { hasLoss, leastParts } from "../train/pipeline.ts";
import { PLANS_KEPT } from "../train/plan_cache.ts";
import { PlanFamilies } from "../train/plan_families.ts";
import {
  arithmeticOfGradients,
  packingRules,
  type PlannedModelOptions,
  planOptionsFor,
} from "../train/planned_options.ts";
import { inFlight } from "../train/run_pipeline.ts";
import { prepare, type Prepared } from "../train/step_inputs.ts";
import { UPDATE_RULES } from "../train/update_rules.ts";
import type { FineTuneConfig } from "./config.ts";

/** The parameters that decide how much memory a run takes. */
export type PredictedChoice = Pick<
  FineTuneConfig,
  "train" | "numeric" | "optimizer" | "loadBest" | "gradAccumulationSteps" | "batchSize"
>;

/** What decides the memory of a run. */
export interface PredictedRun {
  readonly options: PlannedModelOptions;
  readonly config: PredictedChoice;
  readonly weightBytes: number;
  /** Bytes of the tokenizer's files; 0 if no text is read. */
  readonly tokenizerBytes: number;
  /** Batch shapes whose plans are held at once, if something else limits their number. */
  readonly shapes: number;
  /** A batch of every shape; as much of it runs at once as of the largest. */
  readonly batches?: readonly TokenBatch[];
  /** The same for validation. */
  readonly evaluated?: readonly TokenBatch[];
  /** Parts of a batch that are computed at the same time. */
  readonly shards: number;
  /** Whether several processes train together; default false. */
  readonly isRank?: boolean;
}

/** As in an arithmetic. */
export type ReadyWeights = Arithmetic["readyWeights"];

/**
 * @param readyWeights default false
 * @param longest tokens that sequences of other batches are cut to; default: not cut
 */
export type Predict = (
  batch: TokenBatch,
  keepBytes: number,
  readyWeights?: ReadyWeights,
  longest?: number,
) => PredictedMemory;

/** A predictor for a run whose largest batch is given. */
export function memoryPredictor(run: PredictedRun): Predict {
  const predictor = new MemoryPredictor(run);
  return (batch, keepBytes, readyWeights = false, longest = Infinity) =>
    predictor.predict(batch, { keepBytes, readyWeights, longest });
}

/** What a prediction is for. */
interface Kept {
  readonly keepBytes: number;
  readonly readyWeights: ReadyWeights;
  readonly longest: number;
}

class MemoryPredictor {
  readonly #run: PredictedRun;
  readonly #plans: PlanFamilies;
  readonly #gradients: Arithmetic;
  readonly #comparedBytes: number;
  /** What is computed before the first step is the same for every choice. */
  readonly #before = new Map<string, Schedule>();
  readonly #kinds = new Map<string, ShapesToPredict>();

  constructor(run: PredictedRun) {
    this.#run = run;
    this.#plans = run.options.plans ?? new PlanFamilies(run.options.model);
    this.#gradients = arithmeticOfGradients(run.options);
    this.#comparedBytes = bytesToCompare(run);
  }

  predict(batch: TokenBatch, kept: Kept): PredictedMemory {
    // Removes what decoding and the previous prediction have left: how much is free is not known yet.
    collectGarbage();
    const { options: { model, trainable, pipeline }, config, evaluated, ...run } = this.#run;
    const arithmetic = changed(this.#gradients, { readyWeights: kept.readyWeights });
    const plans = this.#plansOf(batch, kept, arithmetic);
    const parts = Math.ceil(config.batchSize / batch.inputIds.dims[0]);
    return predictMemory({
      process: PROCESS_MEMORY,
      plans,
      isRank: run.isRank,
      inFlight: pipeline === undefined ? 1 : inFlight(pipeline, parts),
      before: this.#comparisons(batch, kept, arithmetic),
      ...this.#otherBatches(batch, kept),
      parameterBytes: parameterBytes(model, trainable),
      moments: UPDATE_RULES[config.optimizer].slots.length,
      // The previous copy waits to be collected.
      copies: evaluated !== undefined && config.loadBest ? 2 : 0,
      // Batches of this length run in parts too, or one sequence at a time.
      accumulates: config.gradAccumulationSteps > 1 || config.batchSize > batch.inputIds.dims[0],
      weightBytes: pipeline === undefined ? run.weightBytes : weightBytesOf(plans[0]),
      comparedBytes: this.#comparedBytes,
      tokenizerBytes: run.tokenizerBytes,
      compiled: Deno.build.standalone,
      shapes: Math.min(run.shapes, PLANS_KEPT),
    });
  }

  /** The plans of parts that run at the same time: each span has its own, other parts share the largest's. */
  #plansOf(batch: TokenBatch, { keepBytes }: Kept, arithmetic: Arithmetic): TrainingPlan[] {
    const { options, shards } = this.#run;
    const { dropout } = options;
    const settings = { ...options, keepBytes, shards };
    return ifDivisible((dividesSequences) => {
      const divided = { ...settings, dividesSequences };
      const { parts, use } = divideBatch(divided, batch, { dropout, arithmetic });
      const planFor = (part: Prepared) => this.#plans.planOf(planOptionsFor(settings, part, use));
      if (parts[0]?.span !== undefined) return parts.map(planFor);
      const part = parts.length === 0
        ? prepare(batch, packingRules(settings, use))
        : parts.reduce((a, b) => placesOf(b) > placesOf(a) ? b : a);
      return Array<TrainingPlan>(use.parts).fill(planFor(part));
    });
  }

  /** Runs before the first step: the comparison of the forward pass, and the gradient in floats as well. */
  #comparisons(batch: TokenBatch, kept: Kept, arithmetic: Arithmetic): PredictedStep[] {
    const forward = this.#scheduleOf(comparedPart(batch), "logits");
    if (this.#gradients.products.in === "floats") return [[forward]];
    const plans = this.#plansOf(checkedPart(batch), kept, floatsBeside(arithmetic));
    return [[forward], plans.map(({ training }) => training)];
  }

  #scheduleOf(batch: TokenBatch, pass: StepKind): Schedule {
    const { options } = this.#run;
    return cached(this.#before, `${pass} ${batch.inputIds.dims}`, () => {
      const prepared = prepare(batch, packingRules(options, {}));
      return this.#plans.planOf(planOptionsFor(options, prepared, { passes: [pass] }))[pass];
    });
  }

  /** Batches of other shapes, in the parts that run at once if this one does. */
  #otherBatches(batch: TokenBatch, { keepBytes, longest, readyWeights }: Kept) {
    const { options, shards, evaluated, batches } = this.#run;
    const { dropout } = options;
    const packing = packingRules(options, { dropout });
    const tokens = batch.inputIds.dims[0] * tokensEach(batch, packing);
    const atOnce = (all: readonly TokenBatch[]) =>
      all.flatMap((whole) => {
        const other = whole.inputIds.dims[1] > longest ? firstTokens(whole, longest) : whole;
        const limit = Math.ceil(other.inputIds.dims[0] / leastParts(options.pipeline));
        const most = sequencesAtOnce(tokens, tokensEach(other, packing), limit);
        return cutBatch(other, partSize(other.inputIds.dims[0], most, shards));
      });
    // Weights that are made ready change little of what passes between calls; where that is tried first, and
    // chosen most often, the plans are those of the steps.
    const ready = numericOf(this.#gradients) === "exact" && readyWeights;
    const arithmetic = changed(this.#gradients, { readyWeights: ready });
    const settings = { ...options, keepBytes, shards };
    return {
      evaluated: evaluated && cached(
        this.#kinds,
        `evaluation ${tokens} ${longest}`,
        () => batchKinds(this.#plans, options, atOnce(evaluated), {}, "evaluation"),
      ),
      others: batches && cached(
        this.#kinds,
        `training ${tokens} ${longest} ${keepBytes} ${ready}`,
        () => batchKinds(this.#plans, settings, atOnce(batches), { dropout, arithmetic }),
      ),
    };
  }
}

/** Bytes that weights take in the comparison with the user's graph. */
function bytesToCompare(
  { options: { model: { graph }, pipeline }, weightBytes }: PredictedRun,
): number {
  if (pipeline === undefined) return comparedBytes(graph, weightBytes);
  return hasLoss(pipeline) ? largestPieceBytes(graph) : 0;
}

/** Bytes of the weights that a plan reads. */
function weightBytesOf({ constants }: TrainingPlan): number {
  return [...new Set(constants.values())].reduce(
    (sum, { dtype, dims }) => sum + byteLength(dtype, elementCount(dims)),
    0,
  );
}

function cached<T>(values: Map<string, T>, key: string, make: () => T): T {
  const found = values.get(key) ?? make();
  values.set(key, found);
  return found;
}

/** Positions that attention looks at. */
function placesOf({ batch }: Prepared): number {
  const [sequences, length] = batch.inputIds.dims;
  return sequences * length;
}
