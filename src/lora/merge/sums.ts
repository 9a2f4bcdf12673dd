/** Norms that a merge reports, gathered slab by slab. */
import { type Hessian, outputEnergy } from "../../quant/hessian.ts";

/** Squared norms, gathered slab by slab. */
export class Sums {
  changedCodes = 0;
  #base = 0;
  #delta = 0;
  #error = 0;
  #outputDelta = 0;
  #outputError = 0;

  constructor(readonly cols: number, readonly hessian: Hessian | undefined) {}

  /**
   * @param base,target,stored W, W + ΔW and what was written of it, row-major
   * @param changed rows where ΔW is not zero
   */
  add(
    base: Float32Array,
    target: Float32Array,
    stored: ArrayLike<number>,
    changed: readonly boolean[],
  ): void {
    const delta = new Float64Array(this.cols);
    const error = new Float64Array(this.cols);
    for (let n = 0; n < changed.length; n++) {
      const row = n * this.cols;
      for (let k = 0; k < this.cols; k++) {
        this.#base += base[row + k] * base[row + k];
        delta[k] = target[row + k] - base[row + k];
        error[k] = stored[row + k] - target[row + k];
        this.#delta += delta[k] * delta[k];
        this.#error += error[k] * error[k];
      }
      if (this.hessian === undefined || !changed[n]) continue;
      this.#outputDelta += outputEnergy(this.hessian, delta);
      this.#outputError += outputEnergy(this.hessian, error);
    }
  }

  report(count: number) {
    const ratio = (a: number, b: number) => b > 0 ? Math.sqrt(a / b) : 0;
    return {
      deltaNorm: Math.sqrt(this.#delta),
      relativeDelta: ratio(this.#delta, this.#base),
      requantisationError: ratio(this.#error, this.#delta),
      ...(this.hessian === undefined
        ? {}
        : { outputError: ratio(this.#outputError, this.#outputDelta) }),
      changedCodes: count === 0 ? 0 : this.changedCodes / count,
    };
  }
}
