/**
 * Rounds a matrix to the nearest representable one, group by group, choosing each group's scale.
 *
 * The target is a stored matrix plus a small change, so the old scale is the first candidate: under
 * it every unchanged value is exact. Others are tried where values left the range or where the error
 * of the old scale is larger, and the one with the smallest squared error is kept.
 */
import type { CodeGrid, CodeSlab, QuantisedMatrix } from "./types.ts";

/** A scale and zero point to try for one group. */
interface Candidate {
  readonly scale: number;
  readonly zero: number;
}

/** The values of a group and where they lie in the slab. */
interface Group {
  readonly rowFrom: number;
  readonly rowTo: number;
  readonly colFrom: number;
  readonly colTo: number;
}

/** Narrower ranges give up the largest values for finer steps; wider ones make room. */
const STRETCHES = [1, 16 / 15, 16 / 14, 0.97, 0.94, 0.9, 0.86, 0.82];

/**
 * Rounds `target` (row-major [slab.rows, slab.cols]) to codes and scales like `slab`'s.
 *
 * @param changed rows of the slab whose target differs from it; all others are returned as they are
 * @returns a new slab; groups that are exact already keep their codes, scale and zero bit for bit
 */
export function roundToNearest(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  slab: CodeSlab,
  target: Float32Array,
  changed: (row: number) => boolean = () => true,
): CodeSlab {
  const { grid } = matrix;
  const out: CodeSlab = {
    ...slab,
    codes: slab.codes.slice(),
    scales: slab.scales.slice(),
    zeros: slab.zeros.slice(),
  };
  forEachGroup(grid, slab, (g, index) => {
    let touched = 0;
    for (let n = g.rowFrom; n < g.rowTo; n++) if (changed(n)) touched++;
    if (touched === 0) return;
    const old = { scale: slab.scales[index], zero: slab.zeros[index] };
    const values = gather(target, slab.cols, g);
    if (isExact(values, gatherCodes(slab, g), old)) return;
    // Rows that must stay as they are pin the scale they share with others.
    const best = touched < g.rowTo - g.rowFrom ? old : bestCandidate(matrix, values, old);
    store(out, g, index, values, best, grid);
  });
  return out;
}

/**
 * Quantises values with no history: the range of least squared error for each group.
 *
 * @param values rows [from, from + rows) of the matrix, row-major
 */
export function quantizeRows(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale" | "cols">,
  from: number,
  values: Float32Array,
): CodeSlab {
  const { grid, cols } = matrix;
  const rows = values.length / cols;
  const groups = Math.ceil(rows / grid.groupRows) * Math.ceil(cols / grid.groupCols);
  const zero = defaultZero(grid);
  const slab: CodeSlab = {
    from,
    rows,
    cols,
    codes: new Int16Array(values.length).fill(zero),
    scales: new Float32Array(groups),
    zeros: new Float32Array(groups).fill(zero),
  };
  forEachGroup(grid, slab, (g, index) => {
    const own = gather(values, cols, g);
    const best = bestOf(matrix, own, rangeCandidates(grid, own, zero, true));
    store(slab, g, index, own, best, grid);
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

/** The zero of a layout that stores none: the centre of an unsigned range, 0 of a signed one. */
function defaultZero(grid: CodeGrid): number {
  return grid.min < 0 ? 0 : (grid.max + 1) / 2;
}

function bestCandidate(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  values: Float32Array,
  old: Candidate,
): Candidate {
  const kept = old.scale === 0 || !Number.isFinite(old.scale) ? [] : [old];
  const wider = kept.flatMap((c) =>
    [16 / 15, 16 / 14].map((stretch) => ({ ...c, scale: c.scale * stretch }))
  );
  const fitted = rangeCandidates(matrix.grid, values, old.zero, old.scale < 0);
  return bestOf(matrix, values, [...kept, ...wider, ...fitted]);
}

/** Scales (and zero points, where stored) that fit the values' range, stretched a little. */
function rangeCandidates(
  grid: CodeGrid,
  values: Float32Array,
  zero: number,
  negativeScales: boolean,
): Candidate[] {
  let low = 0;
  let high = 0;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const out: Candidate[] = [];
  if (low === 0 && high === 0) return out;
  if (grid.hasZeroPoints) {
    const scale = (high - low) / (grid.max - grid.min);
    for (const stretch of STRETCHES) {
      const s = scale * stretch;
      out.push({ scale: s, zero: clampCode(Math.round(grid.min - low / s), grid) });
    }
    return out;
  }
  const below = zero - grid.min;
  const above = grid.max - zero;
  const scale = Math.max(above > 0 ? high / above : 0, below > 0 ? -low / below : 0);
  // With a negative scale the larger side of the range serves the positive values.
  const mirrored = Math.max(below > 0 ? high / below : 0, above > 0 ? -low / above : 0);
  for (const stretch of STRETCHES) {
    if (scale > 0) out.push({ scale: scale * stretch, zero });
    if (negativeScales && mirrored > 0) out.push({ scale: -mirrored * stretch, zero });
  }
  return out;
}

/** The candidate of least squared error, its scale refined by least squares on its own codes. */
function bestOf(
  matrix: Pick<QuantisedMatrix, "grid" | "storedScale">,
  values: Float32Array,
  candidates: readonly Candidate[],
): Candidate {
  let best: Candidate = { scale: 0, zero: defaultZero(matrix.grid) };
  let least = squares(values);
  const consider = (candidate: Candidate) => {
    const stored = { ...candidate, scale: matrix.storedScale(candidate.scale) };
    if (stored.scale === 0 || !Number.isFinite(stored.scale)) return;
    const error = squaredError(values, stored, matrix.grid);
    if (error < least) [best, least] = [stored, error];
  };
  candidates.forEach(consider);
  if (best.scale !== 0) consider({ ...best, scale: leastSquaresScale(values, best, matrix.grid) });
  return best;
}

/** The nearest code of a value under a scale and zero point. */
function codeOf(value: number, { scale, zero }: Candidate, grid: CodeGrid): number {
  return scale === 0 ? zero : clampCode(Math.round(value / scale) + zero, grid);
}

function clampCode(code: number, grid: CodeGrid): number {
  return code < grid.min ? grid.min : code > grid.max ? grid.max : code;
}

function squaredError(values: Float32Array, candidate: Candidate, grid: CodeGrid): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    const error = candidate.scale * (codeOf(values[i], candidate, grid) - candidate.zero) -
      values[i];
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
  for (const value of values) sum += value * value;
  return sum;
}

/** Whether codes and scale already give exactly these values. */
function isExact(values: Float32Array, codes: Int16Array, { scale, zero }: Candidate): boolean {
  for (let i = 0; i < values.length; i++) {
    if (Math.fround(scale * (codes[i] - zero)) !== values[i]) return false;
  }
  return true;
}

function gather(values: Float32Array, cols: number, g: Group): Float32Array {
  if (g.rowTo - g.rowFrom === 1) {
    return values.subarray(g.rowFrom * cols + g.colFrom, g.rowFrom * cols + g.colTo);
  }
  const out = new Float32Array((g.rowTo - g.rowFrom) * (g.colTo - g.colFrom));
  let i = 0;
  for (let n = g.rowFrom; n < g.rowTo; n++) {
    for (let k = g.colFrom; k < g.colTo; k++) out[i++] = values[n * cols + k];
  }
  return out;
}

function gatherCodes(slab: CodeSlab, g: Group): Int16Array {
  const out = new Int16Array((g.rowTo - g.rowFrom) * (g.colTo - g.colFrom));
  let i = 0;
  for (let n = g.rowFrom; n < g.rowTo; n++) {
    for (let k = g.colFrom; k < g.colTo; k++) out[i++] = slab.codes[n * slab.cols + k];
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
