/** Norms that a merge reports, summed slab by slab. */
import { sideBySide, type Weigher } from "../../quant/weigher.ts";

/** Sums squared norms, slab by slab. */
export class Sums {
  changedCodes = 0;
  #base = 0;
  #delta = 0;
  #error = 0;
  #outputDelta = 0;
  #outputError = 0;

  constructor(readonly cols: number, readonly weigher: Weigher | undefined) {}

  /**
   * @param base,target,stored W, W + ΔW and the written values, row-major
   * @param changed rows where ΔW is not zero
   */
  async add(
    base: Float32Array,
    target: Float32Array,
    stored: Float32Array,
    changed: readonly boolean[],
  ): Promise<void> {
    const { weigher } = this;
    // Local variables, because every addition to a field would allocate a number.
    let [ofBase, ofDelta, ofError] = [this.#base, this.#delta, this.#error];
    for (let i = 0; i < base.length; i++) {
      const delta = target[i] - base[i];
      const error = stored[i] - target[i];
      ofBase += base[i] * base[i];
      ofDelta += delta * delta;
      ofError += error * error;
    }
    [this.#base, this.#delta, this.#error] = [ofBase, ofDelta, ofError];
    if (weigher === undefined || !changed.includes(true)) return;
    const rows = Int32Array.from(changed.keys()).filter((row) => changed[row]);
    this.#outputDelta += await outputEnergy(weigher, target, base, rows);
    this.#outputError += await outputEnergy(weigher, stored, target, rows);
  }

  /** Adds the squared target change of outputs and its squared error, if known. */
  addOutputs(wanted: number, missing: number): void {
    this.#outputDelta += wanted;
    this.#outputError += missing;
  }

  report(count: number) {
    const ratio = (a: number, b: number) => b > 0 ? Math.sqrt(a / b) : 0;
    return {
      deltaNorm: Math.sqrt(this.#delta),
      relativeDelta: ratio(this.#delta, this.#base),
      requantisationError: ratio(this.#error, this.#delta),
      ...(this.weigher === undefined && this.#outputDelta === 0
        ? {}
        : { outputError: ratio(this.#outputError, this.#outputDelta) }),
      changedCodes: count === 0 ? 0 : this.changedCodes / count,
    };
  }
}

/** Squared norm, up to the Hessian's scale, of the change of outputs by the difference of two matrices. */
async function outputEnergy(
  weigher: Weigher,
  a: Float32Array,
  b: Float32Array,
  rows: Int32Array,
): Promise<number> {
  const { scratch, hessian: { cols, order } } = weigher;
  const size = cols * rows.length;
  const difference = scratch.float32("side errors", size);
  const other = scratch.float32("side target", size);
  sideBySide(a, rows, order, difference);
  sideBySide(b, rows, order, other);
  for (let i = 0; i < size; i++) difference[i] -= other[i];
  return (await weigher.energies(difference, rows.length)).reduce((sum, of) => sum + of, 0);
}
