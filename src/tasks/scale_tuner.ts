/** How a merge tunes scales: on the data that the adapter was trained on, batched in the same way. */
import { trainingForms } from "../kernels/training_forms.ts";
import { randomFor, type Task } from "../data/mod.ts";
import { targetsOf, type TokenBatch } from "../data/targets.ts";
import { cutOf } from "../eval/choose_cut.ts";
import type { ScaleTuner } from "../model/merge_request.ts";
import { UnsupportedError } from "../ops/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { freeBytes } from "../system/memory.ts";
import { keepBudget } from "../train/keep_budget.ts";
import { passControlHere } from "../train/left_out_passes.ts";
import { shardCount } from "../train/shard_count.ts";
import type { BatchSource } from "../train/step.ts";
import { rateFor, tuneScales } from "../train/tune_scales.ts";

export interface TuningData {
  readonly task: Task;
  readonly batches: BatchSource<TokenBatch>;
  /** Bytes of the model's files. */
  readonly modelBytes: number;
}

/** @param steps updates of the scales in a round */
export function scaleTuner(
  runner: Runner,
  threads: number | undefined,
  steps: number,
  { task, batches, modelBytes }: TuningData,
): ScaleTuner {
  return async (model, paths, { round, learningRate, teacher, onStep, signal }) => {
    const { dequantForm } = await trainingForms(runner, threads, model, "exact");
    const targets = task === "causal" ? targetsOf(await batches.batch(0, 0)).count : Infinity;
    const how = {
      paths,
      objective: task,
      data: batches,
      steps,
      learningRate: rateFor(learningRate, targets),
      skip: round * steps,
      random: randomFor(round, "scales"),
      shards: shardCount(runner, threads),
      keepBytes: keepBudget(undefined, modelBytes, freeBytes()),
      dequantForm,
      passControl: passControlHere(),
      cut: cutOf(model.graph),
      onStep: (step: number, loss: number) => onStep?.(step, steps, loss),
      signal,
    };
    try {
      return await tuneScales(runner, model, { ...how, teacher });
    } catch (error) {
      // Distillation needs a head that runs in chunks, which not every head does.
      if (teacher === undefined || !(error instanceof UnsupportedError)) throw error;
      return await tuneScales(runner, model, how);
    }
  };
}
