/**
 * The view of a stored matrix that rounding uses, independent of the operator that reads it.
 *
 * Every layout follows one formula: W[n, k] = scale[g]·(code[n, k] − zero[g]), where g is the group of
 * (n, k). Codes are the integers of a range, or the values of a codebook. Matrices are W [rows, cols] =
 * [out, in] (y = x·Wᵀ), even if the file stores [in, out].
 */
import type { Tensor } from "../graph/tensor.ts";
import type { Scratch } from "./scratch.ts";

/** Code range and the shape of the groups that share a scale. */
export interface CodeGrid {
  /** Smallest and largest code, both usable. */
  readonly min: number;
  readonly max: number;
  /** The codes of a codebook, ascending; absent if they are the integers of the range. */
  readonly levels?: Float32Array;
  /** Rows one scale covers: 1 per output channel, `rows` per tensor. */
  readonly groupRows: number;
  /** Columns one scale covers: the block size, or `cols`. */
  readonly groupCols: number;
  /** Whether zero points are stored, so that rounding may choose them. */
  readonly hasZeroPoints: boolean;
}

/** Integers, or numbers of a codebook. */
export type Codes = Int16Array | Float32Array;

/**
 * Rows [from, from + rows) of a matrix as codes. `scales` and `zeros` are row-major
 * [ceil(rows / groupRows), ceil(cols / groupCols)]; a slab always holds whole groups.
 */
export interface CodeSlab {
  readonly from: number;
  readonly rows: number;
  readonly cols: number;
  readonly codes: Codes;
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
}

/** The tensors of a stored matrix, by role. */
export interface MatrixTensors {
  readonly codes: Tensor;
  readonly scales?: Tensor;
  readonly zeroPoints?: Tensor;
}

/** A matrix of codes in the layout of its operator. */
export interface QuantisedMatrix {
  readonly kind: "quantised";
  readonly rows: number;
  readonly cols: number;
  readonly grid: CodeGrid;
  readonly tensors: MatrixTensors;
  /**
   * Rows [from, to); both must be multiples of `grid.groupRows` (`to` may be `rows`).
   *
   * @param scratch holds the arrays of the result until the next read with it
   */
  read(from: number, to: number, scratch?: Scratch): CodeSlab;
  /** The nearest scale that the layout can store (float16 scales are coarse). */
  storedScale(scale: number): number;
  /**
   * An editor over a copy: rows that are not written stay bit for bit the same.
   *
   * @param scratch holds the copy until the next edit with it
   */
  edit(scratch?: Scratch): MatrixEditor<CodeSlab>;
}

/** Rows [from, from + rows) of a matrix as floats, row-major [rows, cols]. */
export interface FloatSlab {
  readonly from: number;
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array;
}

/** A matrix of floats. */
export interface FloatMatrix {
  readonly kind: "float";
  readonly rows: number;
  readonly cols: number;
  readonly tensors: MatrixTensors;
  /** Like {@linkcode QuantisedMatrix.read}. */
  read(from: number, to: number, scratch?: Scratch): FloatSlab;
  /** Like {@linkcode QuantisedMatrix.edit}. */
  edit(scratch?: Scratch): MatrixEditor<FloatSlab>;
}

/** Any stored matrix. */
export type StoredMatrix = QuantisedMatrix | FloatMatrix;

/** Collects rewritten rows. */
export interface MatrixEditor<Slab> {
  write(slab: Slab): void;
  /** The edited tensors, in the base's types and dimensions. */
  tensors(): MatrixTensors;
}
