/**
 * What planning asks of operators: which rows of a result follow from which of an operand, what is
 * cheap to compute again, where results lie in memory. Each rule states its own, so that no pass keeps
 * a list of operators.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";

/** What an operator is, as far as anything asks; `other` is none of these. */
export type Kind =
  /** A nonlinear function of each element, such as stands between two layers. */
  | "activation"
  /** Queries, keys and values in one operator. */
  | "attention"
  /** The same with rounded operands. */
  | "rounded attention"
  /** Windows of places times weights. */
  | "convolution"
  /** Floats of the integers that a weight is stored as. */
  | "dequantization"
  /** Rows, or elements, of a table by their indices. */
  | "lookup"
  /** The same of a table in packed blocks, as floats. */
  | "packed lookup"
  /** The elements of the first input, in another order, shape or number. */
  | "movement"
  /** Deviations from a mean, or a share of a norm. */
  | "normalization"
  /** The same of each channel, over all places. */
  | "channel normalization"
  /** One number of each window of places. */
  | "pooling"
  /** One number of all places. */
  | "global pooling"
  /** Matrices times matrices. */
  | "product"
  /** Rows times a frozen matrix in packed blocks. */
  | "packed product"
  /** Rounded rows times a frozen matrix of integers. */
  | "rounded product"
  /** Another result each time. */
  | "random"
  /** A rotation of rows by an orthogonal matrix. */
  | "rotation"
  /** Each place from those before it, in turn. */
  | "recurrence"
  /** More places, or fewer, from those nearby. */
  | "resampling"
  /** Elements put, or added, at the places that indices name. */
  | "scatter"
  /** Sizes, or a value that only sizes decide. */
  | "shape"
  | "other";

/** What is known of the values around a node whose shapes are concrete. */
export interface RowFacts {
  /** Leading axes of the result, a row for each place of theirs. */
  readonly lead: number;
  /** Leading axes of a value that has a row for each of the result's; `undefined` where it has none. */
  leadOf(value: string): number | undefined;
  dims(value: string): readonly number[];
  constant(value: string): Tensor | undefined;
}

/**
 * Which inputs of a node have a row for each row of its outputs, where it computes each row from
 * theirs and from the whole of its other inputs; `undefined` where a row depends on others.
 */
export type RowTest = (node: Node, facts: RowFacts) => "first" | "all" | undefined;

/**
 * How results depend on operands: `elementwise`, where each element follows from the elements at its
 * place, operands broadcast; `mixed`, where nothing is promised; else row by row under a condition.
 */
export type Rows = "elementwise" | "mixed" | RowTest;

/** Bytes that a kernel of ONNX Runtime takes beside its outputs until it is done, buffer by buffer. */
export type Scratch = (node: Node, values: GraphBuilder) => readonly number[];

/** What is asked of operators in models as files hold them. */
export interface FileTraits {
  readonly kind: Kind;
  readonly rows: Rows;
}

/** What is asked of operators in training graphs. */
export interface Traits extends FileTraits {
  /**
   * What computing a result again from kept operands takes: less than keeping it, which has to travel to
   * memory and back (`cheap`); less than the room of attention's scores, the square of a sequence's
   * length (`moderate`); or more.
   */
  readonly again: "cheap" | "moderate" | "costly";
  /**
   * Where the runtime puts the first output: in memory of its `own`; under another shape where the
   * first input lies, a `view`; or `in place` of the first input where nobody reads that any more.
   * Found by running each four times in a row on ONNX Runtime 1.30.
   */
  readonly memory: "own" | "view" | "in place";
  readonly scratch: Scratch;
}

/** A kernel takes nothing beside its outputs. */
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

/** Promises nothing of rows, and costs time. */
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
