/**
 * Merges into scales alone: the codes of a matrix stay, and its scales are chosen so that a layer's outputs
 * are as close as possible to the target's.
 *
 * A small change of the weights is far below a step of their codes, but not below what the scales of their
 * blocks can express in the directions that the inputs take: per row, the minimum of (w − ŵ)·H·(w − ŵ)ᵀ over
 * its scales is one small system of equations. No rounding column by column is needed, so it takes a fraction
 * of the time of error-compensated rounding.
 */
import { type BestScales, bestScales } from "./best_scales.ts";
import { dampingFor, type Gram, traceOf } from "./hessian.ts";
import { roundToNearest } from "./nearest.ts";
import { plainScaleProducts, type ScaleProducts } from "./scale_products.ts";
import { Scratch } from "./scratch.ts";
import type { CodeSlab, QuantisedMatrix } from "./types.ts";

/** Largest product of a run, [groups, cols, rows], as a multiple of the bytes processed at once. */
const PRODUCT_SHARE = 8;
/** Fewest rows of a run: with fewer, calls take longer than their products. */
const LEAST_ROWS = 8;

/** A fitted slab, and the remaining error of its outputs. */
export interface Fitted {
  readonly slab: CodeSlab;
  /** Squared target change of the layer's outputs, damping included. */
  readonly wanted: number;
  /** The squared error that remains. */
  readonly missing: number;
}

/** Fits the scales of matrices that read the same inputs. */
export class ScaleFitter {
  readonly #gram: Gram;
  readonly #products: ScaleProducts;
  readonly #scratch: Scratch;

  /** @param gram of the layer's inputs; its diagonal is damped in place */
  constructor(
    gram: Gram,
    products: ScaleProducts = plainScaleProducts,
    scratch: Scratch = new Scratch(),
  ) {
    const { cols, values } = gram;
    const trace = traceOf(gram);
    const more = trace > 0 ? dampingFor(gram) * trace / cols : 1;
    for (let i = 0; i < cols; i++) values[i * cols + i] += more;
    this.#gram = gram;
    this.#products = products;
    this.#scratch = scratch;
  }

  /**
   * Gives rows the scales that bring their outputs closest to those of `target`. Rows that share a scale
   * are rounded to nearest instead.
   *
   * @param target row-major [slab.rows, slab.cols]
   * @param changed rows whose target differs from the slab; all others are returned bit for bit
   * @returns a slab that is valid until the next call with the scratch arrays
   */
  async fit(
    matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
    slab: CodeSlab,
    target: Float32Array,
    changed: (row: number) => boolean = () => true,
  ): Promise<Fitted> {
    const { grid: { groupRows, groupCols } } = matrix;
    const { rows, cols } = slab;
    if (cols !== this.#gram.cols) {
      throw new RangeError(
        `Activations must have ${cols} features: current value is ${this.#gram.cols}`,
      );
    }
    if (groupRows !== 1) {
      const rounded = roundToNearest(matrix, slab, target, changed, this.#scratch);
      return { slab: rounded, wanted: 0, missing: 0 };
    }
    const scales = this.#scratch.float32("fitted scales", slab.scales.length);
    scales.set(slab.scales);
    const chosen = Int32Array.from({ length: rows }, (_, row) => row).filter(changed);
    const groups = Math.ceil(cols / groupCols);
    const gram = this.#gramOf(groups * groupCols);
    const productBytes = PRODUCT_SHARE * this.#scratch.slabBytes;
    const atOnce = Math.max(
      LEAST_ROWS,
      Math.floor(productBytes / (4 * groups * groups * groupCols)),
    );
    let [wanted, missing] = [0, 0];
    for (let first = 0; first < chosen.length; first += atOnce) {
      const part = chosen.subarray(first, first + atOnce);
      const found = await this.#fitRows(matrix, gram, slab, target, part, scales);
      wanted += found.wanted;
      missing += found.missing;
    }
    return { slab: { ...slab, scales }, wanted, missing };
  }

  /** The Gram matrix, padded with zeros for the missing columns of a row's last group. */
  #gramOf(padded: number): Float32Array<ArrayBuffer> {
    const { cols, values } = this.#gram;
    if (padded === cols) return values;
    const gram = this.#scratch.float32("fit gram", padded * padded).fill(0);
    for (let i = 0; i < cols; i++) {
      gram.set(values.subarray(i * cols, (i + 1) * cols), i * padded);
    }
    return gram;
  }

  async #fitRows(
    matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
    gram: Float32Array<ArrayBuffer>,
    slab: CodeSlab,
    target: Float32Array,
    chosen: Int32Array,
    scales: Float32Array,
  ): Promise<Omit<Fitted, "slab">> {
    const { groupCols } = matrix.grid;
    const groups = Math.ceil(slab.cols / groupCols);
    const cols = groups * groupCols;
    const rows = chosen.length;
    const array = (name: string, length: number) => this.#scratch.float32(`fit ${name}`, length);
    const [centred, errors] = [array("centred", cols * rows), array("errors", cols * rows)];
    spread(slab, target, chosen, groupCols, centred, errors);
    const sums = {
      normal: array("normal", groups * groups * rows),
      right: array("right", groups * rows),
      energies: array("energies", rows),
    };
    await this.#products(gram, centred, errors, { rows, cols, groupCols }, sums);
    let [wanted, missing] = [0, 0];
    const equation = {
      normal: new Float64Array(groups * groups),
      right: new Float64Array(groups),
    };
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < equation.normal.length; i++) {
        equation.normal[i] = sums.normal[i * rows + r];
      }
      for (let g = 0; g < groups; g++) equation.right[g] = sums.right[g * rows + r];
      const from = chosen[r] * groups;
      const old = slab.scales.subarray(from, from + groups);
      const best = bestScales(equation, old, (scale) => matrix.storedScale(scale));
      wanted += sums.energies[r];
      missing += sums.energies[r];
      if (best === undefined || !isBetter(best, old)) continue;
      missing += best.change;
      scales.set(best.scales, from);
    }
    return { wanted, missing: Math.max(0, missing) };
  }
}

/**
 * Whether scales lower a row's energy and are valid for the same codes: none became 0 or changed its
 * sign.
 */
function isBetter({ scales, change }: BestScales, old: Float32Array): boolean {
  return change < 0 && scales.every((scale, g) => scale * old[g] > 0 || scale === old[g]);
}

/**
 * Transposes rows: codes without their zero points, and the missing values, [cols, rows] each; zeros for
 * the missing columns of the last group.
 */
function spread(
  { cols, codes, scales, zeros }: CodeSlab,
  target: Float32Array,
  chosen: Int32Array,
  groupCols: number,
  centred: Float32Array,
  errors: Float32Array,
): void {
  const rows = chosen.length;
  const groups = Math.ceil(cols / groupCols);
  for (let i = cols * rows; i < groups * groupCols * rows; i++) centred[i] = errors[i] = 0;
  for (let r = 0; r < rows; r++) {
    for (let group = 0, col = 0; group < groups; group++) {
      const at = chosen[r] * groups + group;
      const [scale, zero] = [scales[at], zeros[at]];
      for (const end = Math.min(col + groupCols, cols); col < end; col++) {
        const from = chosen[r] * cols + col;
        const code = codes[from] - zero;
        centred[col * rows + r] = code;
        errors[col * rows + r] = target[from] - scale * code;
      }
    }
  }
}
