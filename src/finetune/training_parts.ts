/** The parts of a training run, once model, data and device are known. */
import type { ReferenceLosses } from "../eval/evaluate.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Identity } from "../train/checkpoint.ts";
import type { Optimizer } from "../train/optimizer.ts";
import type { Batch, BatchSource, StepModel } from "../train/step.ts";
import type { NumericChoice } from "./choose_numeric.ts";
import type { ChosenMemory } from "./chosen_memory.ts";
import type { FrozenLayers } from "./prefix_cache.ts";

/** The parts of a run, ready to go. */
export interface TrainingParts<B extends Batch = Batch> extends Disposable {
  readonly model: StepModel<B>;
  readonly optimizer: Optimizer;
  readonly data: BatchSource<B>;
  readonly validation?: BatchSource<B>;
  readonly test?: BatchSource<B>;
  /** The numeric setting in use, if it is not simply the configured one. */
  readonly numeric?: NumericChoice;
  /** What is kept and computed at once, if that was chosen for this run. */
  readonly memory?: ChosenMemory;
  /** Frozen layers whose results can be kept, if there are any. */
  readonly frozen?: FrozenLayers;
  /** What must be equal for a resume besides parameters of the configuration: digests of base and data. */
  readonly identity: Identity;
  /** Writes the adapter with these parameters. */
  saveAdapter(directory: string, parameters: ReadonlyMap<string, Tensor>): void;
  /** Writes the losses on held-out data beside it; nothing if they are not known. */
  saveEvaluation?(directory: string, found: ReferenceLosses | undefined): Promise<void>;
}
