/** What training a model would take in memory, from the plan of a real step. */
import { quantizedConstantBytes } from "../graph/passes/quantize_constants.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { rowBucket } from "../data/targets.ts";
import type { LoraConfig } from "../lora/config.ts";
import {
  addClassificationHead,
  initAdapter,
  initLinear,
  inject,
  type LoraSite,
  tokenStates,
} from "../lora/mod.ts";
import { arithmeticOf, withoutGradients } from "../plan/arithmetic.ts";
import { comparedBytes } from "../plan/compared_pieces.ts";
import { describePlan, type PlanDescription } from "../plan/describe_plan.ts";
import { type PredictedMemory, predictMemory } from "../plan/memory.ts";
import { type PlanOptions, planTraining } from "../plan/plan.ts";
import type { PassControl } from "../plan/planning_pass.ts";
import { Random } from "../random.ts";
import { PROCESS_MEMORY } from "../system/process_memory.ts";

/** A run to predict: that of `graft train` with an adapter on `sites`. */
export interface TrainingToPredict {
  readonly sites: readonly LoraSite[];
  readonly init: LoraConfig["init"];
  /** Sequences per batch. */
  readonly batch: number;
  /** Tokens per sequence, all of them targets where the model is a language model. */
  readonly length: number;
  /** Bytes of activations that may be kept. */
  readonly keepBytes: number;
  /** Parts of a batch that are computed beside each other, where it divides into as many. */
  readonly shards: number;
  /** Bytes of the model's files. */
  readonly sizeBytes: number;
  /** Which passes of planning are left out. */
  readonly passControl?: PassControl;
}

/** Moments per trained tensor: AdamW's. */
const MOMENTS = 2;
/** Classes of the head that a model without one would get. */
const CLASSES = 2;
/** Sequences and target rows of the comparison before the first step. */
const COMPARED = { sequences: 2, rows: 16 };

/** A step as it is planned for memory to be predicted, or for people to read. */
interface StepToInspect {
  /** The model with adapters, and a head where it had none. */
  readonly trained: Model;
  /** Of a part of the batch. */
  readonly options: PlanOptions;
  /** Parts of the batch that are computed beside each other. */
  readonly shards: number;
  /** Rows with a target of so many sequences, at most `most`. */
  rowsOf(sequences: number, most: number): Pick<PlanOptions, "targetRows">;
}

function stepToInspect(model: Model, run: TrainingToPredict): StepToInspect {
  const { length } = run;
  const shards = run.batch % run.shards === 0 ? run.shards : 1;
  const batch = run.batch / shards;
  const keepBytes = Math.floor(run.keepBytes / shards);
  const random = Random.fromSeed(0);
  const injected = inject(model, run.sites, initAdapter(run.sites, run.init, random));
  const logits = model.graph.outputs.find(({ name }) => name === "logits");
  const { model: trained, names } = logits !== undefined
    ? { model: injected.model, names: injected.trainable.keys() }
    : withHead(injected, random);
  const trainable = new Set(names);
  const causal = logits?.type?.shape?.length === 3;
  const rowsOf = (sequences: number, most: number) =>
    causal ? { targetRows: rowBucket(Math.min(most, sequences * (length - 1))) } : {};
  const options: PlanOptions = {
    batch,
    length,
    trainable,
    keepBytes,
    // Blocks as is quickest on the release that graft brings.
    arithmetic: arithmeticOf({ dequantForm: "arithmetic", readyWeights: true }),
    ...rowsOf(batch, Infinity),
    passControl: run.passControl,
  };
  return { trained, options, shards, rowsOf };
}

/** The plan of a training step, of one of the parts that a batch is computed in. */
export interface InspectedPlan extends PlanDescription {
  /** Parts of the batch that are computed beside each other. */
  readonly parts: number;
}

/**
 * Describes the plan of a step, of one of the parts that a batch is computed in.
 *
 * @throws {UnsupportedError | BadInputError} where the model cannot be trained so
 */
export function describeTraining(model: Model, run: TrainingToPredict): InspectedPlan {
  const { trained, options, shards } = stepToInspect(model, run);
  const passes = ["training"] as const;
  return { ...describePlan(planTraining(trained, { ...options, passes })), parts: shards };
}

/**
 * Plans a step and predicts what the run takes.
 *
 * @throws {UnsupportedError | BadInputError} where the model cannot be trained so
 */
export function predictTraining(model: Model, run: TrainingToPredict): PredictedMemory {
  const { sizeBytes } = run;
  const { trained, options, shards, rowsOf } = stepToInspect(model, run);
  const few = Math.min(COMPARED.sequences, run.batch);
  const compared = planTraining(trained, {
    ...options,
    arithmetic: withoutGradients(options.arithmetic!),
    batch: few,
    ...rowsOf(few, COMPARED.rows),
  });
  const weightBytes = sizeBytes + quantizedConstantBytes(model.graph);
  return predictMemory({
    process: PROCESS_MEMORY,
    plans: Array(shards).fill(planTraining(trained, options)),
    before: [[compared.logits]],
    parameterBytes: parameterBytes(trained, options.trainable),
    moments: MOMENTS,
    accumulates: false,
    weightBytes,
    comparedBytes: comparedBytes(trained.graph, weightBytes),
    tokenizerBytes: 0,
  });
}

type Edited = ReturnType<typeof inject>;

function withHead(injected: Edited, random: Random) {
  const head = initLinear(CLASSES, tokenStates(injected.model).hidden, random);
  const edited = addClassificationHead(injected.model, head, { pooling: "mean" });
  return {
    model: edited.model,
    names: [...injected.trainable.keys(), ...edited.trainable.keys()],
  };
}

/** Bytes of trained tensors, float32. */
export function parameterBytes(model: Model, trainable: ReadonlySet<string>): number {
  const sizes = [...trainable].map((name) =>
    4 * elementCount(model.graph.initializers.get(name)!.dims)
  );
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
