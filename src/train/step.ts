/**
 * What the training loop requires of a model and of data. `src/plan` implements the first over the
 * differentiated graph, `src/data` the second.
 */
import type { DeviceTensor } from "../runtime/runner.ts";

/** A trainable tensor (float32). */
export interface Parameter {
  readonly name: string;
  readonly dims: readonly number[];
  /** Current value. The optimiser replaces the tensor by another one: read this at every use. */
  value: DeviceTensor;
  /**
   * Gradient of the sum of losses over target tokens, summed over the micro-batches since
   * {@linkcode StepModel.zeroGrad}; `undefined` before the first of them.
   */
  grad: DeviceTensor | undefined;
}

/** What the loop itself reads of a batch; the rest is between the data and the model. */
export interface Batch {
  /** Real (unpadded) tokens, for tokens per second. */
  readonly tokenCount: number;
}

/** Loss of a batch: a sum over target tokens (labels, for classification) and their number. */
export interface BatchLoss {
  /** Sum of the losses of all targets, in nats. */
  readonly lossSum: number;
  /** Targets, tokens or rows. */
  readonly targetCount: number;
}

/** Loss of a batch in evaluation; `correct` counts right answers if the task has them. */
export interface Evaluation extends BatchLoss {
  readonly correct?: number;
}

/** Gives the next batch; called only when there is time for it. */
export type Upcoming<B extends Batch = Batch> = () => Promise<B>;

/** A batch, and the 32-bit seed of its dropout masks. */
export interface SeededBatch<B extends Batch = Batch> {
  readonly batch: B;
  readonly dropoutSeed: number;
}

/** Takes a parameter's gradient, complete. */
export type OnGradient = (parameter: Parameter, grad: DeviceTensor) => void;

/** What a step is told besides its batch. Its result depends on none of it. */
export interface StepOptions<B extends Batch = Batch> {
  /** What the model may prepare for while it computes; absent: nothing follows. */
  readonly upcoming?: Upcoming<B>;
  /**
   * Told of each gradient as soon as nothing more is added to it, while others are still computed: no other
   * batch may follow in this step. Gradients that the batch does not change are not told of.
   */
  readonly onGradient?: OnGradient;
}

/** A model that can take training steps. Only token ids, masks and scalars cross per step. */
export interface StepModel<B extends Batch = Batch> extends Disposable {
  readonly parameters: readonly Parameter[];
  /**
   * Adds the gradient of the sum of this batch's token losses to every parameter's `grad`.
   *
   * @param dropoutSeed 32-bit seed of this micro-step's dropout masks
   */
  accumulate(batch: B, dropoutSeed: number, options?: StepOptions<B>): Promise<BatchLoss>;
  /** Like {@linkcode accumulate} for one batch after another: of a model that works on several at once. */
  accumulateAll?(batches: readonly SeededBatch<B>[]): Promise<BatchLoss>;
  /** Loss without dropout and without gradients. */
  evaluate(batch: B): Promise<Evaluation>;
  /**
   * Keeps all activations in full precision from now on, if some were kept in float16 and may have left its
   * range.
   *
   * @returns whether that changes anything
   */
  widen?(): boolean;
  /** Forgets the accumulated gradients. */
  zeroGrad(): void;
  /** Gives zeros to the parameters that have no gradient yet. */
  fillGrad?(): void;
}

/** Batches by position: the same position gives the same batch in every run of one seed. */
export interface BatchSource<B extends Batch = Batch> {
  /** Number of batches of an epoch, counted from 0. */
  batches(epoch: number): number;
  /** Reads a batch of an epoch; both count from 0. */
  batch(epoch: number, index: number): Promise<B>;
}
