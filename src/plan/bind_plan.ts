/** A plan over the sizes of batches, and its binding to one batch. */
import { boundDims } from "../graph/bind_graph.ts";
import { tensorAt } from "../graph/extents.ts";
import type { BoundSizes, Extent, Sizes } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { FrozenPrefix } from "./frozen_prefix.ts";
import type { BoundInput } from "./inputs.ts";
import type { PlanOptions } from "./options.ts";
import { type RowWiseCalls, withRowsInTurn } from "./rows_in_turn.ts";
import { type CallSequence, type Schedule, scheduleAt } from "./schedule.ts";
import { linksAt, type StageLinks } from "./stage.ts";
import { valuesOf } from "./step_sizes.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";

/** What a step's plan contains, bound or not. */
interface StepPlan<Calls, Count> {
  readonly training: Calls;
  readonly evaluation: Calls;
  /** Forward only, keeping the logits of the target rows. */
  readonly logits: Calls;
  /** Where {@linkcode logits} leaves them: pieces along the class axis, in order. */
  readonly logitsParts: readonly string[];
  /**
   * Tensors to bind by name: weights as stored in the file, starting values, and, once bound, constants that
   * follow from the batch's sizes.
   */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Calls that make further such tensors from them, once for all plans of a model. */
  readonly preprocessing: readonly PreprocessingCall[];
  /** The calls below everything trained, if there are any. */
  readonly frozen?: FrozenPrefix;
  /** Batch inputs that the calls read. */
  readonly inputs: ReadonlyMap<string, BoundInput>;
  readonly rows: Count;
  /** Elements of the weights that each segment of the step multiplies. */
  readonly loads: readonly number[];
  /** Of a stage of a pipeline: what passes between it and its neighbours. */
  readonly links?: StageLinks;
  /** Bytes that the backward calls read from the forward pass, including what passes between segments. */
  readonly savedBytes: Count;
  /** Whether the budget for kept activations is exhausted, so that fewer rows would allow more to be kept. */
  readonly keepsSome: boolean;
  /** Whether products in integers read weights as stored in the file: `rotated` would change that. */
  readonly readsStored: boolean;
}

/** A step's plan for all batches at which the planner decides the same. */
export interface PlanOverSizes extends StepPlan<CallSequence, Extent> {
  readonly sizes: Sizes;
  /** Calls of a training step that may run over a part of the rows at a time, if there are any. */
  readonly rowWise?: RowWiseCalls;
}

/** A step's plan at one batch. */
export interface TrainingPlan extends StepPlan<Schedule, number> {
  readonly options: PlanOptions;
}

/**
 * Binds a plan to a batch.
 *
 * @param options of the plan's kind (`kindOf`)
 * @returns `undefined` where the planner would decide differently for this batch
 */
export function bindPlan(plan: PlanOverSizes, options: PlanOptions): TrainingPlan | undefined {
  const sizes = plan.sizes.at(valuesOf(options));
  if (sizes === undefined) return undefined;
  const { evaluation, logits, inputs, frozen, links, rowWise } = plan;
  const whole = scheduleAt(plan.training, sizes);
  const training = rowWise === undefined ? whole : withRowsInTurn(whole, rowWise);
  const schedules = [training, evaluation, logits];
  const dimsOf = (dims: readonly number[]) => boundDims(dims, sizes);
  return {
    ...plan,
    options,
    training,
    evaluation: scheduleAt(evaluation, sizes),
    logits: scheduleAt(logits, sizes),
    constants: constantsAt(plan.constants, schedules, sizes),
    inputs: new Map(
      [...inputs].map(([name, { dtype, dims }]) => [name, { dtype, dims: dimsOf(dims) }]),
    ),
    links: links && linksAt(links, sizes),
    frozen: frozen && { ...frozen, dims: dimsOf(frozen.dims) },
    rows: sizes.of(plan.rows),
    savedBytes: sizes.of(plan.savedBytes),
  };
}

/** A plan's constants and the calls' feeds that follow from sizes, these under the names of their contents. */
function constantsAt(
  constants: ReadonlyMap<string, Tensor>,
  schedules: readonly CallSequence[],
  sizes: BoundSizes,
): ReadonlyMap<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const [name, value] of constants) found.set(name, tensorAt(value, sizes));
  for (const { calls } of schedules) {
    for (const { sized, feeds, sizes: own = sizes } of calls) {
      for (const [canonical, value] of sized) {
        const name = feeds.get(canonical)!;
        if (!found.has(name)) found.set(name, tensorAt(value, own));
      }
    }
  }
  return found;
}
