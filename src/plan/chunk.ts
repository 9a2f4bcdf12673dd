/**
 * A chunk of the head's vocabulary: the inputs of a call over one chunk, and the values carried from call to
 * call.
 */
import { GraphBuilder } from "../graph/builder.ts";
import type { Extent } from "../graph/size.ts";
import { int64 } from "../graph/tensor.ts";
import { inferTraining } from "../ops/registry.ts";
import type { ChunkContext } from "./head_weight.ts";
import { LABELS } from "./names.ts";

/** The rows of the vocabulary that one call covers. */
export interface Chunk {
  readonly index: number;
  readonly start: number;
  readonly size: number;
}

/**
 * The position of each row's label within the chunk (clamped), and whether the label is in the chunk at all.
 */
export function labelInChunk(
  b: GraphBuilder,
  rows: Extent,
  startName: string,
  size: number,
) {
  const local = b.op("Unsqueeze", [b.op("Sub", [LABELS, startName]), b.int64s([1])]);
  const low = b.op("GreaterOrEqual", [local, b.constant(int64([], [0]))]);
  const high = b.op("Less", [local, b.constant(int64([], [size]))]);
  const inside = b.op("Cast", [b.op("And", [low, high])], { to: { kind: "int", value: 1 } });
  const atLeast = b.op("Max", [local, b.constant(int64([], [0]))]);
  const clamped = b.op("Min", [atLeast, b.constant(int64([], [size - 1]))]);
  return { index: b.reshape(clamped, [rows, 1]), inside };
}

/** Values carried into a chunk: [rows, 1], and [rows, K] for sums of the weight's rows. */
export type Carried = "max" | "sum" | "picked" | "total" | "own";

/**
 * A builder with the inputs of every chunk, and `carried`, which declares a value carried from the previous
 * one.
 */
export function chunkBuilder(c: ChunkContext, { index, start }: Chunk) {
  const b = new GraphBuilder(inferTraining);
  const startName = `head.start:${start}`;
  c.constants.set(startName, int64([], [start]));
  b.input(startName, "int64", []);
  b.input(LABELS, "int64", [c.rows]);
  b.input(c.head.hidden, "float32", [c.rows, c.width]);
  const carried = (what: Carried) =>
    b.input(carriedName(what, index), "float32", [
      c.rows,
      what === "total" || what === "own" ? c.width : 1,
    ]);
  return { b, startName, carried };
}

/** Name of a value that enters chunk `index` or leaves the one before it. */
export const carriedName = (what: Carried, index: number) => `head.${what}:${index}`;
