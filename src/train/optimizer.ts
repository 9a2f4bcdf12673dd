/** What the training loop asks of an optimiser. */
import type { Tensor } from "../graph/tensor.ts";

/** Everything that an optimiser must remember across a resume. */
export interface OptimizerState {
  /** Updates applied so far; skipped steps do not count. */
  readonly updates: number;
  /** Moments by `<parameter>.<slot>`. */
  readonly moments: ReadonlyMap<string, Tensor>;
  /** Parameters from before the last update, which {@linkcode Optimizer.revert} restores. */
  readonly previous?: ReadonlyMap<string, Tensor>;
}

export interface Optimizer extends Disposable {
  /** L2 norm over all accumulated gradients, unscaled (a sum over target tokens). */
  gradientNorm(): Promise<number>;
  /**
   * Updates every parameter from its gradient.
   *
   * @param gradientScale factor on the gradients: one over the target tokens, times the clipping
   */
  update(learningRate: number, gradientScale: number): Promise<void>;
  /**
   * Restores the parameters from before the last update: the last ones whose loss is known to be finite.
   * Moments stay; do it only to end a run.
   *
   * @returns whether there was an update to undo
   */
  revert(): boolean;
  /**
   * The moments and the parameters from before the last update, as views that are valid until the next
   * update.
   */
  state(): OptimizerState;
  /**
   * Resumes from a state.
   *
   * @throws {RangeError} if a tensor is missing or has another shape, naming it
   */
  restore(state: OptimizerState): void;
}
