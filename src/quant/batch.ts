/** Rows that are rounded together. */
import type { Codes } from "./types.ts";

/** Rows of a matrix while they are rounded: [cols, rows] and [groups, rows], in the Hessian's order. */
export interface Batch {
  readonly rows: number;
  /** Group of the column at each position. */
  readonly groupAt: Int32Array;
  readonly codes: Codes;
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
  /** w − ŵ. */
  readonly errors: Float32Array<ArrayBuffer>;
  /** (w − ŵ)·H·(w − ŵ)ᵀ of each row. */
  readonly energies: Float64Array;
}
