/** Short forms of case inputs. */
import type { DataType } from "../../../src/graph/dtype.ts";
import type { CaseInput } from "../gradcheck.ts";

/** A float32 value computed at run time; reproducible numbers where none are given. */
export const f = (dims: readonly number[], values?: readonly number[]): CaseInput => ({
  dims,
  values,
});

/** A float32 constant. */
export const fc = (dims: readonly number[], values?: readonly number[]): CaseInput => ({
  dims,
  values,
  constant: true,
});

/** A value of another type computed at run time. */
export const typed = (
  dtype: DataType,
  dims: readonly number[],
  values: readonly number[],
): CaseInput => ({ dtype, dims, values });

/** A one-dimensional int64 constant. */
export const ic = (...values: readonly number[]): CaseInput => ({
  dtype: "int64",
  dims: [values.length],
  values,
  constant: true,
});

/** An int64 scalar constant. */
export const is = (value: number): CaseInput => ({
  dtype: "int64",
  dims: [],
  values: [value],
  constant: true,
});
