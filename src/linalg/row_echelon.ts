/** Row echelon form, which shows the rank of a matrix by its pivots. */
import { type Matrix, matrixOf } from "./matrix.ts";

/** A matrix in row echelon form. */
export interface RowEchelon {
  /** [rows, cols]: each row begins with more zeros than the one above it. */
  readonly echelon: Matrix;
  /** Columns of the first nonzero elements of its rows, ascending; their number is the rank. */
  readonly pivots: readonly number[];
  /** Number of pivots: rows that are independent of each other. */
  readonly rank: number;
  /** Columns without a pivot: dimensions of the inputs that the matrix maps to zero. */
  readonly nullity: number;
}

/**
 * Gaussian elimination with the largest pivot of each column. rank + nullity = cols.
 *
 * @param tolerance values up to this are zero; by default the rounding errors of doubles at this size
 */
export function rowEchelon(m: Matrix, tolerance = defaultTolerance(m)): RowEchelon {
  const { rows, cols } = m;
  const echelon = matrixOf(rows, cols, m.values);
  const row = (i: number) => echelon.values.subarray(i * cols, (i + 1) * cols);
  const pivots: number[] = [];
  for (let col = 0; col < cols && pivots.length < rows; col++) {
    const top = pivots.length;
    let best = top;
    for (let i = top + 1; i < rows; i++) {
      if (Math.abs(row(i)[col]) > Math.abs(row(best)[col])) best = i;
    }
    if (Math.abs(row(best)[col]) <= tolerance) {
      for (let i = top; i < rows; i++) row(i)[col] = 0;
      continue;
    }
    swap(row(top), row(best));
    for (let i = top + 1; i < rows; i++) subtract(row(i), row(top), col);
    pivots.push(col);
  }
  return { echelon, pivots, rank: pivots.length, nullity: cols - pivots.length };
}

function defaultTolerance({ rows, cols, values }: Matrix): number {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return Math.max(rows, cols) * Number.EPSILON * largest;
}

function swap(x: Float64Array, y: Float64Array): void {
  const kept = x.slice();
  x.set(y);
  y.set(kept);
}

/** Subtracts the multiple of the pivot's row that makes `col` zero. */
function subtract(x: Float64Array, pivot: Float64Array, col: number): void {
  const factor = x[col] / pivot[col];
  if (factor === 0) return;
  x[col] = 0;
  for (let j = col + 1; j < x.length; j++) x[j] -= factor * pivot[j];
}
