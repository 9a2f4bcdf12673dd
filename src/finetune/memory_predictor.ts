/** The peak memory of a training run, predicted for each choice of what it keeps. */
import { cutBatch, firstTokens } from "../data/slice_batch.ts";
import type { TokenBatch } from "../data/targets.ts";
import { parameterBytes } from "../model/predict_training.ts";
import { type Arithmetic, changed, floatsBeside } from "../plan/arithmetic.ts";
import { comparedBytes } from "../plan/compared_pieces.ts";
import { type PredictedMemory, predictMemory, type ShapesToPredict } from "../plan/memory.ts";
import type { Pass } from "../plan/options.ts";
import { planTraining, type TrainingPlan } from "../plan/plan.ts";
import type { Schedule } from "../plan/schedule.ts";
import { collectGarbage } from "../system/memory.ts";
import { PROCESS_MEMORY } from "../system/process_memory.ts";
import { batchKinds } from "../train/batch_kinds.ts";
import { checkedPart } from "../train/check_fast.ts";
import { comparedPart } from "../train/compare_forward.ts";
import { divideBatch, ifDivisible } from "../train/divide_batch.ts";
import { partSize, sequencesAtOnce, tokensEach } from "../train/micro_batches.ts";
import { PLANS_KEPT } from "../train/plan_cache.ts";
import {
  arithmeticOfGradients,
  packingRules,
  type PlannedModelOptions,
  planOptionsFor,
} from "../train/planned_options.ts";
import { prepare, type Prepared } from "../train/step_inputs.ts";
import { UPDATE_RULES } from "../train/update_rules.ts";
import type { FineTuneConfig } from "./config.ts";

/** What of a configuration decides how much memory a run takes. */
export type PredictedChoice = Pick<
  FineTuneConfig,
  "train" | "numeric" | "optimizer" | "loadBest" | "gradAccumulationSteps" | "batchSize"
>;

/** A run as far as its memory goes. */
export interface PredictedRun {
  readonly options: PlannedModelOptions;
  readonly config: PredictedChoice;
  readonly weightBytes: number;
  /** Bytes of the tokenizer's files; 0 where no text is read. */
  readonly tokenizerBytes: number;
  /** Batch shapes whose plans are there at once, as far as that is limited otherwise. */
  readonly shapes: number;
  /** A batch of every shape; what of it runs at once is as large as what of the largest does. */
  readonly batches?: readonly TokenBatch[];
  /** The same of validation. */
  readonly evaluated?: readonly TokenBatch[];
  /** Parts of a batch that are computed beside each other. */
  readonly shards: number;
}

/** As an arithmetic has it. */
export type ReadyWeights = Arithmetic["readyWeights"];

/**
 * @param readyWeights default false
 * @param longest tokens that sequences of other batches are cut to; default: they stay
 */
export type Predict = (
  batch: TokenBatch,
  keepBytes: number,
  readyWeights?: ReadyWeights,
  longest?: number,
) => PredictedMemory;

/** What predicts a run whose largest batch is given. */
export function memoryPredictor(run: PredictedRun): Predict {
  const { options, config, evaluated, shards } = run;
  const { model, trainable, dropout } = options;
  const gradients = arithmeticOfGradients(options);
  const isFloats = gradients.products.in === "floats";
  const compared = comparedBytes(model.graph, run.weightBytes);
  /** What is computed before the first step is the same for every choice. */
  const before = new Map<string, Schedule>();
  const kinds = new Map<string, ShapesToPredict>();
  const kindsOf = (key: string, make: () => ShapesToPredict) => {
    const found = kinds.get(key) ?? make();
    kinds.set(key, found);
    return found;
  };
  const scheduleOf = (batch: TokenBatch, pass: Pass) => {
    const key = `${pass} ${batch.inputIds.dims}`;
    const planned = () => {
      const prepared = prepare(batch, packingRules(options, {}));
      return planTraining(model, planOptionsFor(options, prepared, { passes: [pass] }))[pass];
    };
    const found = before.get(key) ?? planned();
    before.set(key, found);
    return found;
  };
  return (batch, keepBytes, readyWeights = false, longest = Infinity) => {
    // What decoding and the prediction before have left goes: nothing is known yet of what is free.
    collectGarbage();
    /** Of what a batch's parts run beside each other: spans each its own, others what the largest does. */
    const plansOf = (batch: TokenBatch, arithmetic: Arithmetic) => {
      const settings = { ...options, keepBytes, shards };
      return ifDivisible((dividesSequences) => {
        const divided = { ...settings, dividesSequences };
        const { parts, use } = divideBatch(divided, batch, { dropout, arithmetic });
        const planFor = (part: Prepared) =>
          planTraining(model, planOptionsFor(settings, part, use));
        if (parts[0]?.span !== undefined) return parts.map(planFor);
        const part = parts.length === 0
          ? prepare(batch, packingRules(settings, use))
          : parts.reduce((a, b) => placesOf(b) > placesOf(a) ? b : a);
        return Array<TrainingPlan>(use.parts).fill(planFor(part));
      });
    };
    const schedulesOf = (plans: readonly TrainingPlan[]) => plans.map(({ training }) => training);
    const arithmetic = changed(gradients, { readyWeights });
    const sequences = batch.inputIds.dims[0];
    const packing = packingRules(options, { dropout });
    const tokens = sequences * tokensEach(batch, packing);
    /** Other batches in the parts that run at once where that one does. */
    const atOnce = (batches: readonly TokenBatch[]) =>
      batches.flatMap((whole) => {
        const other = whole.inputIds.dims[1] > longest ? firstTokens(whole, longest) : whole;
        const most = sequencesAtOnce(tokens, tokensEach(other, packing));
        return cutBatch(other, partSize(other.inputIds.dims[0], most, shards));
      });
    return predictMemory({
      process: PROCESS_MEMORY,
      plans: plansOf(batch, arithmetic),
      before: [
        [scheduleOf(comparedPart(batch), "logits")],
        // Before the first step the gradient is also computed in floats.
        ...(isFloats ? [] : [schedulesOf(plansOf(checkedPart(batch), floatsBeside(arithmetic)))]),
      ],
      evaluated: evaluated && kindsOf(
        `evaluation ${tokens} ${longest}`,
        () => batchKinds(options, atOnce(evaluated), {}, "evaluation"),
      ),
      // Weights that are ready change little of what lies between calls.
      others: run.batches && kindsOf(
        `training ${tokens} ${longest} ${keepBytes}`,
        () =>
          batchKinds({ ...options, keepBytes, shards }, atOnce(run.batches!), {
            dropout,
            arithmetic: changed(gradients, { readyWeights: false }),
          }),
      ),
      parameterBytes: parameterBytes(model, trainable),
      moments: UPDATE_RULES[config.optimizer].slots.length,
      // The one before it waits for its collection.
      copies: evaluated !== undefined && config.loadBest ? 2 : 0,
      // Batches that are as long run in parts, too, or for one sequence alone.
      accumulates: config.gradAccumulationSteps > 1 || config.batchSize > batch.inputIds.dims[0],
      weightBytes: run.weightBytes,
      comparedBytes: compared,
      tokenizerBytes: run.tokenizerBytes,
      compiled: Deno.build.standalone,
      shapes: Math.min(run.shapes, PLANS_KEPT),
    });
  };
}

/** Places that attention looks at. */
function placesOf({ batch }: Prepared): number {
  const [sequences, length] = batch.inputIds.dims;
  return sequences * length;
}
