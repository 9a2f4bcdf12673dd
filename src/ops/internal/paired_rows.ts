/**
 * Weights that kernels of x86 with AVX2 and without VNNI multiply correctly by unsigned activations.
 *
 * Those kernels add the products of two neighbours in 16 bits: x₀·w₀ + x₁·w₁, x up to 255, which saturates
 * at 32,767. With w₀ + w₁ at most 128 where both are positive, and at least -128 where both are negative, it
 * cannot. Neighbours are two columns where the matrix is multiplied, two rows where it is multiplied
 * transposed: pairs that start at even indices.
 *
 * Source of the sums in 16 bits: VPMADDUBSW of the Intel 64 and IA-32 Architectures Software Developer's
 * Manual.
 */
import { int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { padZeros, sliceAxis } from "../slice.ts";

/** Largest sum of two numbers of one sign; rounding each to the nearest adds up to 1. */
const PAIR_LEVELS = 127;

/**
 * Scales with which the codes of a matrix fit in pairs along both axes.
 *
 * @param matrix float32 [rows, columns]
 * @param scales at which each code fits by itself, float32 [rows]
 * @returns float32 [rows], no smaller than `scales`
 */
export function pairedScales(b: GraphBuilder, matrix: string, scales: string): string {
  const [rows, columns] = b.dims(matrix);
  const [top, right] = [rows + rows % 2, columns + columns % 2];
  const wide = padZeros(b, matrix, [0, 0], [0, right - columns]);
  const alongRows = b.op("Max", [scales, largestPair(b, wide, [rows, right / 2, 2], 2)]);
  const codes = b.op("Div", [matrix, b.reshape(alongRows, [rows, 1])]);
  const high = padZeros(b, codes, [0, 0], [top - rows, 0]);
  const pairs = b.op("Max", [largestPair(b, high, [top / 2, 2, columns], 1), b.scalar(1)]);
  const both = b.op("Expand", [b.reshape(pairs, [top / 2, 1]), b.int64s([top / 2, 2])]);
  const growth = sliceAxis(b, b.reshape(both, [top]), 0, 0, rows);
  return b.op("Mul", [alongRows, growth]);
}

/**
 * The largest sum of two neighbours of one sign, in units of {@linkcode PAIR_LEVELS}, for each index of the
 * first axis of `shape`.
 *
 * @param axis of `shape` that holds the two
 */
function largestPair(b: GraphBuilder, matrix: string, shape: number[], axis: number): string {
  const drop = { keepdims: int(0) };
  const largest = (values: string) => {
    const sums = b.op("ReduceSum", [
      b.reshape(b.op("Relu", [values]), shape),
      b.int64s([axis]),
    ], drop);
    return b.op("ReduceMax", [sums, b.int64s([1])], drop);
  };
  const most = b.op("Max", [largest(matrix), largest(b.op("Neg", [matrix]))]);
  return b.op("Mul", [most, b.scalar(1 / PAIR_LEVELS)]);
}
