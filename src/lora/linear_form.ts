/** The parts of a linear layer in a graph. */
import type { DataType } from "../graph/dtype.ts";
import type { Node } from "../graph/types.ts";
import type { LinearWeight } from "./linear_weight.ts";

/**
 * The operator form of a linear layer. `MatMulInteger` stands for the whole of `DynamicQuantizeLinear →
 * MatMulInteger → Cast → Mul` and for the operators ONNX Runtime fuses it to, `DequantizeLinear` for a
 * `MatMul` or `Gemm` over a dequantised weight. A product inside a fused attention has the kind that it
 * gets when the attention is decomposed.
 */
export type LinearKind =
  | "MatMul"
  | "Gemm"
  | "MatMulNBits"
  | "MatMulBnb4"
  | "MatMulInteger"
  | "DequantizeLinear";

/** Output columns [offset, offset + size) of a fused linear with `total` columns. */
export interface Slice {
  /** First output of the slice. */
  readonly offset: number;
  /** Outputs of the slice. */
  readonly size: number;
  /** Outputs of the whole layer. */
  readonly total: number;
}

/**
 * An int32 bias beside quantised activations and weights. ONNX Runtime fuses them to one integer
 * operator, which assumes that the bias's scale is the product of theirs, whatever its own is: a change
 * of the weight's scale requires rounding the bias again.
 */
export interface IntegerBias {
  /** Value names of initializers. */
  readonly codes: string;
  /** Value name of the bias's own scales. */
  readonly scales: string;
  /** The activations' scale: a constant. */
  readonly inputScale: string;
}

/** A linear layer in a graph, before it is named. */
export interface LinearForm extends LinearWeight {
  /** How the layer stores its weight. */
  readonly kind: LinearKind;
  /** The node that multiplies. */
  readonly node: Node;
  /** Input value: the float activation, before any dynamic quantisation. */
  readonly input: string;
  /** Float output value, before a separate bias is added. */
  readonly output: string;
  /** Columns of W: inputs of the layer. */
  readonly inFeatures: number;
  /** Rows of W: outputs of the layer. */
  readonly outFeatures: number;
  /** Element type of `input` and `output`. */
  readonly dtype: DataType;
  /** The bias: its value name, and the value after its addition (`output` if the operator adds it). */
  readonly bias?: { readonly weight: string; readonly output: string };
  /** The bias added to a product of integers. */
  readonly integerBias?: IntegerBias;
  /** The part of a fused linear; `outFeatures` is then that of the part. */
  readonly slice?: Slice;
}

/** A linear layer before the search for its bias, except one that its own operator adds. */
export type LinearParts = Omit<LinearForm, "bias"> & { readonly fusedBias?: string };
