/** The step of a workload that stands for all: its batch of median size, planned in both settings. */
import { trainingForms } from "../../src/kernels/training_forms.ts";
import { parseArguments } from "../../src/cli/args.ts";
import { resolveValues } from "../../src/cli/config.ts";
import { configOf, TRAIN_FLAGS, type TrainFlags } from "../../src/cli/train/train_flags.ts";
import { GuardedText } from "../../src/data/mod.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { addAdapter } from "../../src/finetune/add_adapter.ts";
import { labelsFor } from "../../src/finetune/model_outputs.ts";
import { loadTrainingData } from "../../src/finetune/training_data.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { readModelLabels } from "../../src/model/model_labels.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { dequantFormFor } from "../../src/ops/dequant_form.ts";
import { arithmeticOf } from "../../src/plan/arithmetic.ts";
import { planTraining } from "../../src/plan/plan.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { divideBatch } from "../../src/train/divide_batch.ts";
import { shardCount } from "../../src/train/shard_count.ts";
import { type PlannedModelOptions, planOptionsFor } from "../../src/train/planned_options.ts";
import type { BatchSource } from "../../src/train/step.ts";
import type { Workload } from "../figures/workloads.ts";
import type { Setting } from "./graft_side.ts";
import { type StepWork, stepWork } from "./step_work.ts";

/**
 * What of a step's tokens is computed: each of them, or what sequences begin with once, in the parts
 * that training divides the batch into.
 */
export const COMPUTED = ["every token", "as trained"] as const;
export type Computed = typeof COMPUTED[number];

export interface WorkloadSteps {
  /** Real tokens of the step. */
  readonly tokens: number;
  /** Rows that are computed for them, those that pad shapes included. */
  readonly rows: Readonly<Record<Computed, number>>;
  readonly work: Readonly<Record<Setting, Readonly<Record<Computed, StepWork>>>>;
}

/** Plans with all activations kept: what a plan computes twice to save memory is no ceiling's business. */
export async function workloadSteps(
  runner: Runner,
  { model: folder, graft }: Workload,
): Promise<WorkloadSteps> {
  const { values } = parseArguments([...graft], TRAIN_FLAGS);
  const config = configOf(resolveValues(TRAIN_FLAGS, values).values as TrainFlags);
  using base = loadOnnx(findModelFile(folder));
  using text = await GuardedText.start(readTextFiles(folder));
  const tokenTypeIds = base.model.graph.inputs.some(({ name }) => name === "token_type_ids");
  using data = await loadTrainingData(
    config,
    { text, tokenTypeIds },
    (found, source) => labelsFor(base.model, readModelLabels(folder), found, source),
    () => {},
  );
  const { model, trainable } = addAdapter(base.model, config, data.labels);
  const forms = await trainingForms(runner, undefined, base.model, "fast");
  const options: PlannedModelOptions = {
    runner,
    model,
    trainable: new Set(trainable.keys()),
    objective: data.task,
    shards: shardCount(runner, undefined),
  };
  const batch = await medianBatch(data.train);
  const whole = { ...options, shards: 1, sharesPrefixes: false };
  const divided = {
    "every token": divideBatch(whole, batch),
    "as trained": divideBatch(options, batch),
  };
  const workOf = (numeric: Setting, computed: Computed) => {
    const { parts, use } = divided[computed];
    const sliced = numeric === "exact" && forms.sliced;
    const { rotated, integerForm, dequantForm = dequantFormFor(runner.version) } = forms;
    const arithmetic = arithmeticOf({
      ...{ numeric, sliced, rotated, integerForm, dequantForm, readyWeights: true },
    });
    return stepWork(parts.map((part) =>
      planTraining(model, {
        ...planOptionsFor(options, part, { ...use, arithmetic }),
        keepBytes: Number.MAX_SAFE_INTEGER,
        // Tiles change where passes find what they read, not what a step has to do.
        inTiles: false,
      }).training
    ));
  };
  const both = <T>(of: (computed: Computed) => T) =>
    Object.fromEntries(COMPUTED.map((computed) => [computed, of(computed)])) as Record<Computed, T>;
  return {
    tokens: batch.tokenCount,
    rows: both((computed) =>
      divided[computed].parts.reduce(
        (sum, { packing, batch }) => sum + (packing?.rows ?? elementCount(batch.inputIds.dims)),
        0,
      )
    ),
    work: {
      exact: both((computed) => workOf("exact", computed)),
      fast: both((computed) => workOf("fast", computed)),
    },
  };
}

async function medianBatch(source: BatchSource<TokenBatch>): Promise<TokenBatch> {
  const batches: TokenBatch[] = [];
  for (let i = 0; i < source.batches(0); i++) batches.push(await source.batch(0, i));
  batches.sort((a, b) => a.tokenCount - b.tokenCount);
  return batches[batches.length >> 1];
}
