/**
 * What planning asks about operators: which rows of a result follow from which rows of an operand, what is
 * cheap to compute again, where results are in memory. Each rule states its own, so that no pass keeps a list
 * of operators.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";

/** What an operator is, for every question that is asked; `other` is none of these. */
export type Kind =
  /** A nonlinear function of each element, as between two layers. */
  | "activation"
  /** Queries, keys and values in one operator. */
  | "attention"
  /** The same with rounded operands. */
  | "rounded attention"
  /** Windows of positions times weights. */
  | "convolution"
  /** Floats from the integers that a weight is stored as. */
  | "dequantization"
  /** Rows, or elements, of a table by their indices. */
  | "lookup"
  /** The same for a table in packed blocks, as floats. */
  | "packed lookup"
  /** The elements of the first input, in another order, shape or number. */
  | "movement"
  /** Deviations from a mean, or a share of a norm. */
  | "normalization"
  /** The same for each channel, over all positions. */
  | "channel normalization"
  /** One number from each window of positions. */
  | "pooling"
  /** One number from all positions. */
  | "global pooling"
  /** Matrices times matrices. */
  | "product"
  /** Rows times a frozen matrix in packed blocks. */
  | "packed product"
  /** Rounded rows times a frozen matrix of integers. */
  | "rounded product"
  /** A different result each time. */
  | "random"
  /** A rotation of rows by an orthogonal matrix. */
  | "rotation"
  /** Each position from those before it, in turn. */
  | "recurrence"
  /** More positions, or fewer, from those nearby. */
  | "resampling"
  /** Elements put, or added, at the positions that indices name. */
  | "scatter"
  /** Sizes, or a value that only sizes decide. */
  | "shape"
  | "other";

/** What is known about the values around a node whose shapes are concrete. */
export interface RowFacts {
  /** Number of leading axes of the result, which has one row for each position along them. */
  readonly lead: number;
  /**
   * Number of leading axes of a value that has a row for each of the result's; `undefined` if it has none.
   */
  leadOf(value: string): number | undefined;
  dims(value: string): readonly number[];
  constant(value: string): Tensor | undefined;
}

/**
 * Which inputs of a node have a row for each row of its outputs, if it computes each row from theirs and from
 * the whole of its other inputs; `undefined` if a row depends on others.
 */
export type RowTest = (node: Node, facts: RowFacts) => "first" | "all" | undefined;

/**
 * How results depend on operands: `elementwise` if each element follows from the elements at its position,
 * operands broadcast; `mixed` if nothing is promised; else row by row under a condition.
 */
export type Rows = "elementwise" | "mixed" | RowTest;

/** Bytes that a kernel of ONNX Runtime takes besides its outputs until it is done, buffer by buffer. */
export type Scratch = (node: Node, values: GraphBuilder) => readonly number[];

/** What is asked about operators in models as files store them. */
export interface FileTraits {
  readonly kind: Kind;
  readonly rows: Rows;
}

/** What is asked about operators in training graphs. */
export interface Traits extends FileTraits {
  /**
   * What computing a result again from kept operands costs: less than keeping it, which has to travel to
   * memory and back (`cheap`); less than the memory of attention's scores, the square of a sequence's length
   * (`moderate`); or more.
   */
  readonly again: "cheap" | "moderate" | "costly";
  /**
   * Where the runtime puts the first output: in memory of its `own`; in the first input's memory under
   * another shape, a `view`; or `in place` of the first input if nobody reads that any more. Found by running
   * each four times in a row on ONNX Runtime 1.30.
   */
  readonly memory: "own" | "view" | "in place";
  readonly scratch: Scratch;
}

/** A kernel that takes nothing besides its outputs. */
const NO_SCRATCH: Scratch = () => [];

const OWN = { memory: "own", scratch: NO_SCRATCH } as const;

/** Computes each element by itself. */
export function elementwise(kind: Kind, again: Traits["again"]): Traits {
  return { kind, rows: "elementwise", again, ...OWN };
}

/** Computes each row by itself under a condition. */
export function rowByRow(kind: Kind, rows: RowTest, again: Traits["again"]): Traits {
  return { kind, rows, again, ...OWN };
}

/** Promises nothing about rows, and costs time. */
export function mixed(kind: Kind): Traits {
  return { kind, rows: "mixed", again: "costly", ...OWN };
}

/** The first input under another shape, which moves no bytes. */
export const VIEW: Traits = {
  kind: "movement",
  rows: "mixed",
  again: "cheap",
  memory: "view",
  scratch: NO_SCRATCH,
};
