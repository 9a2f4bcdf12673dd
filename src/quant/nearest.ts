/**
 * Rounds a matrix to the nearest representable one, choosing a scale for each group.
 *
 * The target is a stored matrix plus a small change, so the old scale is the first candidate: under it
 * every unchanged value is exact. Others are tried if values are out of range or if the error of the old
 * scale is larger, and the one with the smallest squared error is kept.
 */
import { codeArray, nearestCode } from "./code_grid.ts";
import { Scratch } from "./scratch.ts";
import type { CodeGrid, CodeSlab, QuantisedMatrix } from "./types.ts";

/** A scale and zero point for one group. */
interface Candidate {
  readonly scale: number;
  readonly zero: number;
}

/** The values of a group and their positions in the slab. */
interface Group {
  readonly rowFrom: number;
  readonly rowTo: number;
  readonly colFrom: number;
  readonly colTo: number;
}

/**
 * Factors of the range: narrower ranges clip the largest values for finer steps, wider ones avoid
 * clipping.
 */
const RANGE_FACTORS = [1, 16 / 15, 16 / 14, 0.97, 0.94, 0.9, 0.86, 0.82];

/**
 * Rounds `target` (row-major [slab.rows, slab.cols]) to codes and scales like `slab`'s.
 *
 * @param changed rows of the slab whose target differs from it; all others are returned unchanged
 * @param scratch holds the result until the next call with it
 * @returns another slab; groups that are exact already keep their codes, scale and zero bit for bit
 */
export function roundToNearest(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  slab: CodeSlab,
  target: Float32Array,
  changed: (row: number) => boolean = () => true,
  scratch = new Scratch(),
): CodeSlab {
  const { grid } = matrix;
  const out: CodeSlab = {
    ...slab,
    codes: codeArray(grid, scratch, "rounded", slab.codes.length),
    scales: scratch.float32("rounded scales", slab.scales.length),
    zeros: scratch.float32("rounded zeros", slab.zeros.length),
  };
  for (const part of ["codes", "scales", "zeros"] as const) out[part].set(slab[part]);
  forEachGroup(grid, slab, (g, index) => {
    let touched = 0;
    for (let n = g.rowFrom; n < g.rowTo; n++) if (changed(n)) touched++;
    if (touched === 0) return;
    const old = { scale: slab.scales[index], zero: slab.zeros[index] };
    if (isExact(target, slab, g, old)) return;
    const values = gather(target, slab.cols, g, scratch);
    // Rows that must not change fix the scale that they share with others.
    const best = touched < g.rowTo - g.rowFrom ? old : bestCandidate(matrix, values, old);
    store(out, g, index, values, best, grid);
  });
  return out;
}

/**
 * Quantises values without earlier codes: chooses the range of least squared error for each group.
 *
 * @param values rows [from, from + rows) of the matrix, row-major
 * @param scratch holds the result until the next call with it
 */
export function quantizeRows(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale" | "cols">,
  from: number,
  values: Float32Array,
  scratch = new Scratch(),
): CodeSlab {
  const { grid, cols } = matrix;
  const rows = values.length / cols;
  const groups = Math.ceil(rows / grid.groupRows) * Math.ceil(cols / grid.groupCols);
  const zero = defaultZero(grid);
  const slab: CodeSlab = {
    from,
    rows,
    cols,
    codes: codeArray(grid, scratch, "rounded", values.length).fill(zero),
    scales: scratch.float32("rounded scales", groups).fill(0),
    zeros: scratch.float32("rounded zeros", groups).fill(zero),
  };
  forEachGroup(grid, slab, (g, index) => {
    const own = gather(values, cols, g, scratch);
    const search = new ScaleSearch(matrix, own);
    considerRange(search, zero, true);
    store(slab, g, index, own, search.refined(), grid);
  });
  return slab;
}

function store(
  slab: CodeSlab,
  g: Group,
  index: number,
  values: Float32Array,
  candidate: Candidate,
  grid: CodeGrid,
): void {
  slab.scales[index] = candidate.scale;
  slab.zeros[index] = candidate.zero;
  let i = 0;
  for (let n = g.rowFrom; n < g.rowTo; n++) {
    for (let k = g.colFrom; k < g.colTo; k++) {
      slab.codes[n * slab.cols + k] = codeOf(values[i++], candidate, grid);
    }
  }
}

/** The zero point of a layout that stores none: the centre of an unsigned range, 0 for a signed one. */
function defaultZero(grid: CodeGrid): number {
  return grid.min < 0 ? 0 : (grid.max + 1) / 2;
}

function bestCandidate(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  values: Float32Array,
  old: Candidate,
): Candidate {
  const search = new ScaleSearch(matrix, values);
  if (old.scale !== 0 && Number.isFinite(old.scale)) {
    for (const factor of [1, 16 / 15, 16 / 14]) search.consider(old.scale * factor, old.zero);
  }
  considerRange(search, old.zero, old.scale < 0);
  return search.refined();
}

/**
 * Tries scales (and zero points, if stored) that fit the values' range, and slightly larger or smaller
 * ones.
 */
function considerRange(search: ScaleSearch, zero: number, negativeScales: boolean): void {
  const { values, grid } = search;
  let low = 0;
  let high = 0;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  if (low === 0 && high === 0) return;
  if (grid.hasZeroPoints) {
    const scale = (high - low) / (grid.max - grid.min);
    for (const factor of RANGE_FACTORS) {
      const s = scale * factor;
      search.consider(s, nearestCode(grid, grid.min - low / s));
    }
    return;
  }
  const below = zero - grid.min;
  const above = grid.max - zero;
  const scale = Math.max(above > 0 ? high / above : 0, below > 0 ? -low / below : 0);
  // With a negative scale the larger side of the range represents the positive values.
  const mirrored = Math.max(below > 0 ? high / below : 0, above > 0 ? -low / above : 0);
  for (const factor of RANGE_FACTORS) {
    if (scale > 0) search.consider(scale * factor, zero);
    if (negativeScales && mirrored > 0) search.consider(-mirrored * factor, zero);
  }
}

/** Searches the scale and zero point of least squared error for one group's values. */
class ScaleSearch {
  readonly grid: CodeGrid;
  readonly #storedScale: (scale: number) => number;
  /**
   * Scale of a group of zeros: any scale represents them, but readers, including graft, refuse a scale
   * of 0.
   */
  #scale = 1;
  #zero: number;
  #least: number;

  constructor(
    matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
    readonly values: Float32Array,
  ) {
    this.grid = matrix.grid;
    this.#storedScale = (scale) => matrix.storedScale(scale);
    this.#zero = defaultZero(matrix.grid);
    this.#least = squares(values);
  }

  consider(scale: number, zero: number): void {
    const stored = this.#storedScale(scale);
    if (stored === 0 || !Number.isFinite(stored)) return;
    const error = squaredError(this.values, stored, zero, this.grid, this.#least);
    if (error < this.#least) [this.#scale, this.#zero, this.#least] = [stored, zero, error];
  }

  /** The best so far, its scale refined by least squares on its own codes. */
  refined(): Candidate {
    const best = { scale: this.#scale, zero: this.#zero };
    this.consider(leastSquaresScale(this.values, best, this.grid), this.#zero);
    return { scale: this.#scale, zero: this.#zero };
  }
}

/** The nearest code of a value under a scale and zero point. */
function codeOf(value: number, { scale, zero }: Candidate, grid: CodeGrid): number {
  return scale === 0 ? zero : nearestCode(grid, value / scale + zero);
}

/** Σ (scale·(code − zero) − value)²; if that reaches `enough`, any number that is not less. */
function squaredError(
  values: Float32Array,
  scale: number,
  zero: number,
  grid: CodeGrid,
  enough: number,
): number {
  let sum = 0;
  for (let i = 0; i < values.length && sum < enough; i++) {
    const value = values[i];
    const error = scale * (nearestCode(grid, value / scale + zero) - zero) - value;
    sum += error * error;
  }
  return sum;
}

function leastSquaresScale(values: Float32Array, candidate: Candidate, grid: CodeGrid): number {
  let dot = 0;
  let norm = 0;
  for (let i = 0; i < values.length; i++) {
    const code = codeOf(values[i], candidate, grid) - candidate.zero;
    dot += code * values[i];
    norm += code * code;
  }
  return norm === 0 ? candidate.scale : dot / norm;
}

function squares(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return sum;
}

/** Whether the slab's codes already give exactly the target values of a group. */
function isExact(
  target: Float32Array,
  { codes, cols }: CodeSlab,
  g: Group,
  { scale, zero }: Candidate,
): boolean {
  for (let n = g.rowFrom; n < g.rowTo; n++) {
    for (let i = n * cols + g.colFrom; i < n * cols + g.colTo; i++) {
      if (Math.fround(scale * (codes[i] - zero)) !== target[i]) return false;
    }
  }
  return true;
}

function gather(values: Float32Array, cols: number, g: Group, scratch: Scratch): Float32Array {
  if (g.rowTo - g.rowFrom === 1) {
    return values.subarray(g.rowFrom * cols + g.colFrom, g.rowFrom * cols + g.colTo);
  }
  const out = scratch.float32("group", (g.rowTo - g.rowFrom) * (g.colTo - g.colFrom));
  let i = 0;
  for (let n = g.rowFrom; n < g.rowTo; n++) {
    for (let k = g.colFrom; k < g.colTo; k++) out[i++] = values[n * cols + k];
  }
  return out;
}

/** Visits the groups of a slab in the order of its scales. */
function forEachGroup(
  grid: CodeGrid,
  slab: Pick<CodeSlab, "rows" | "cols">,
  visit: (group: Group, index: number) => void,
): void {
  let index = 0;
  for (let row = 0; row < slab.rows; row += grid.groupRows) {
    for (let col = 0; col < slab.cols; col += grid.groupCols) {
      visit({
        rowFrom: row,
        rowTo: Math.min(row + grid.groupRows, slab.rows),
        colFrom: col,
        colTo: Math.min(col + grid.groupCols, slab.cols),
      }, index++);
    }
  }
}
