/** Finds the stored weight of a linear layer's operand. */
import { intAttribute, intsAttribute } from "../graph/attributes.ts";
import { bitsOf, type DataType, isFloating } from "../graph/dtype.ts";
import { type Rounding, roundingOf } from "../graph/quantize_linear.ts";
import type { Codebook } from "../graph/codebook.ts";
import type { Node } from "../graph/types.ts";
import type { GraphIndex } from "./graph_index.ts";

/** Location and storage of a linear layer's weight. */
export interface LinearWeight {
  /** Value name of the stored weight: an initializer (or a `Constant` node's output). */
  readonly weight: string;
  /**
   * Order of the stored dimensions: `KN` is [in, out], `NK` is [out, in], `NBits` is MatMulNBits'
   * [out, blocks, bytes per block], `Bnb4` is MatMulBnb4's [out · in / 2].
   */
  readonly layout: "KN" | "NK" | "NBits" | "Bnb4";
  /** Bits of one weight, as stored or as rounded. */
  readonly bits: number;
  /** Type to which the graph rounds the stored floats before it dequantises them; otherwise absent. */
  readonly roundedTo?: Rounding["dtype"];
  /** Value name of the scales, for quantised weights. */
  readonly scales?: string;
  /** Value name of the zero points, if there are any. */
  readonly zeroPoints?: string;
  /** Stored axis of the scales: per channel, or per block if there is a `blockSize`. */
  readonly axis?: number;
  /** Weights that share a scale along `axis` (MatMulNBits, MatMulBnb4: along the input dimension). */
  readonly blockSize?: number;
  /** Values of the codes, if they are not integers. */
  readonly codebook?: Codebook;
}

/** Most bits of codes that a merge can write. */
const MOST_BITS = 8;

/** A stored matrix, and the operand that is computed from it. */
export interface MatrixBehind extends LinearWeight {
  readonly layout: "KN" | "NK";
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Element type of the prepared matrix. */
  readonly dtype: DataType;
}

/** Effect of the nodes between a stored matrix and its product. */
interface Preparation {
  /** Whether the product reads it transposed. */
  swap: boolean;
  /** Its type in the product, if a node decides it. */
  dtype?: DataType;
  quantised?: Pick<LinearWeight, "scales" | "zeroPoints" | "axis" | "blockSize" | "roundedTo">;
}

/**
 * The constant matrix behind a value, looking through Transpose, Cast, Identity, DequantizeLinear
 * and the QuantizeLinear before it.
 *
 * @param transposed whether the product itself reads the value transposed
 */
export function matrixBehind(
  index: GraphIndex,
  value: string,
  transposed = false,
): MatrixBehind | undefined {
  const preparation: Preparation = { swap: transposed };
  let now = value;
  while (index.constant(now) === undefined) {
    const node = index.producer(now);
    if (node === undefined || !lookThrough(index, node, preparation)) return undefined;
    now = node.inputs[0];
  }
  const { dims, dtype } = index.constant(now)!;
  const { swap, quantised } = preparation;
  if (dims.length !== 2 || quantised === undefined && !isFloating(dtype)) return undefined;
  // Codes of 16 bits can be read, but not merged into.
  if (quantised !== undefined && quantised.roundedTo === undefined && bitsOf(dtype) > MOST_BITS) {
    return undefined;
  }
  const [rows, columns] = dims;
  return {
    weight: now,
    layout: swap ? "NK" : "KN",
    bits: bitsOf(quantised?.roundedTo ?? dtype),
    inFeatures: swap ? columns : rows,
    outFeatures: swap ? rows : columns,
    dtype: preparation.dtype ?? dtype,
    ...quantised,
  };
}

/** Records a node's effect on the matrix; returns false if the node does not prepare weights. */
function lookThrough(index: GraphIndex, node: Node, preparation: Preparation): boolean {
  if (node.opType === "DequantizeLinear") return lookThroughDequantize(index, node, preparation);
  if (node.domain !== "") return false;
  switch (node.opType) {
    case "Transpose": {
      const perm = intsAttribute(node, "perm", [1, 0]);
      if (perm.length !== 2) return false;
      if (perm[0] === 1) preparation.swap = !preparation.swap;
      return true;
    }
    case "Identity":
      return true;
    case "QuantizeLinear":
      return preparation.quantised?.roundedTo !== undefined;
    case "Cast":
      // Only the result type of the last Cast is the activations'.
      preparation.dtype ??= castType(intAttribute(node, "to", 0));
      return preparation.dtype !== undefined;
    default:
      return false;
  }
}

function lookThroughDequantize(index: GraphIndex, node: Node, preparation: Preparation): boolean {
  const [weight, scales, zeroPoints] = node.inputs;
  const scale = index.constant(scales);
  const roundedTo = roundedBefore(index, node);
  // Scales are stored along the weight's own axes, so it must not be transposed before it is
  // dequantised.
  if (scale === undefined) return false;
  if (roundedTo === undefined && index.constant(weight) === undefined) return false;
  const blockSize = intAttribute(node, "block_size", 0);
  const axis = intAttribute(node, "axis", 1);
  preparation.quantised = {
    scales,
    axis: axis < 0 ? axis + 2 : axis,
    ...(zeroPoints ? { zeroPoints } : {}),
    ...(blockSize > 0 ? { blockSize } : {}),
    ...(roundedTo === undefined ? {} : { roundedTo }),
  };
  preparation.dtype ??= scale.dtype;
  return true;
}

/**
 * Type to which the node before a DequantizeLinear rounds floats of the file; `undefined` if it does not
 * use the same scales.
 */
function roundedBefore(index: GraphIndex, node: Node): Rounding["dtype"] | undefined {
  const before = index.producer(node.inputs[0]);
  if (before?.opType !== "QuantizeLinear") return undefined;
  const isUndone = [1, 2].every((i) => (before.inputs[i] ?? "") === (node.inputs[i] ?? "")) &&
    intAttribute(before, "axis", 1) === intAttribute(node, "axis", 1) &&
    intAttribute(before, "block_size", 0) === intAttribute(node, "block_size", 0);
  return isUndone ? roundingOf(before, index.constant)?.dtype : undefined;
}

const castType = (to: number): DataType | undefined =>
  to === 1 ? "float32" : to === 10 ? "float16" : to === 16 ? "bfloat16" : undefined;
