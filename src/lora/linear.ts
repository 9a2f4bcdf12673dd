/** Recognises the operator forms in which exporters and quantisers write a linear layer. */
import { bitsOf, type DataType } from "../graph/dtype.ts";
import { floatAttribute, intAttribute } from "../graph/attributes.ts";
import { MICROSOFT, type Node } from "../graph/types.ts";
import { attentionLinear } from "./attention_linear.ts";
import type { GraphIndex } from "./graph_index.ts";
import { type LinearWeight, matrixBehind } from "./linear_weight.ts";

/**
 * The operator form of a linear layer. `MatMulInteger` stands for the whole of
 * `DynamicQuantizeLinear → MatMulInteger → Cast → Mul` and for the operators ONNX Runtime fuses it
 * to, `DequantizeLinear` for a `MatMul` or `Gemm` over a dequantised weight.
 */
export type LinearKind = "MatMul" | "Gemm" | "MatMulNBits" | "MatMulInteger" | "DequantizeLinear";

/** Output columns [offset, offset + size) of a fused linear with `total` columns. */
export interface Slice {
  readonly offset: number;
  readonly size: number;
  readonly total: number;
}

/** A linear layer as found in a graph, before it has a name. */
export interface LinearForm extends LinearWeight {
  readonly kind: LinearKind;
  /** The node that multiplies. */
  readonly node: Node;
  /** Value that enters: the float activation, before any dynamic quantisation. */
  readonly input: string;
  /** Float value that leaves, before a separate bias is added. */
  readonly output: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Element type of `input` and `output`. */
  readonly dtype: DataType;
  /** The bias: its value name, and the value after it was added (`output` where the operator adds it). */
  readonly bias?: { readonly weight: string; readonly output: string };
  /** Which part of a fused linear this is; `outFeatures` is then the part's. */
  readonly slice?: Slice;
}

type Parts = Omit<LinearForm, "bias"> & { readonly fusedBias?: string };

/** The linear layer that `node` multiplies for, `undefined` where it is none. */
export function linearForm(index: GraphIndex, node: Node): LinearForm | undefined {
  const attention = attentionLinear(index, node);
  if (attention !== undefined) return attention;
  const parts = partsOf(index, node);
  if (parts === undefined) return undefined;
  const { fusedBias, ...form } = parts;
  if (fusedBias !== undefined) {
    return { ...form, bias: { weight: fusedBias, output: form.output } };
  }
  const bias = biasAfter(index, form.output, form.outFeatures);
  return bias === undefined ? form : { ...form, bias };
}

function partsOf(index: GraphIndex, node: Node): Parts | undefined {
  if (node.domain === MICROSOFT) {
    switch (node.opType) {
      case "MatMulNBits":
        return matMulNBits(index, node);
      case "DynamicQuantizeMatMul":
        return dynamicQuantizeMatMul(index, node);
      case "MatMulIntegerToFloat":
        return matMulIntegerToFloat(index, node);
      default:
        return undefined;
    }
  }
  if (node.domain !== "") return undefined;
  switch (node.opType) {
    case "MatMul":
      return matMul(index, node);
    case "Gemm":
      return gemm(index, node);
    case "MatMulInteger":
      return matMulInteger(index, node);
    default:
      return undefined;
  }
}

function matMul(index: GraphIndex, node: Node): Parts | undefined {
  const stored = matrixBehind(index, node.inputs[1]);
  if (stored === undefined || index.constant(node.inputs[0]) !== undefined) return undefined;
  return {
    ...stored,
    kind: stored.scales === undefined ? "MatMul" : "DequantizeLinear",
    ...ends(node),
  };
}

function gemm(index: GraphIndex, node: Node): Parts | undefined {
  // A scaled or transposed Gemm is no linear layer of a network.
  if (intAttribute(node, "transA", 0) !== 0 || floatAttribute(node, "alpha", 1) !== 1) {
    return undefined;
  }
  const transposed = intAttribute(node, "transB", 0) !== 0;
  const stored = matrixBehind(index, node.inputs[1], transposed);
  if (stored === undefined) return undefined;
  const bias = node.inputs[2];
  return {
    ...stored,
    kind: stored.scales === undefined ? "Gemm" : "DequantizeLinear",
    ...ends(node),
    fusedBias: bias === undefined || bias === "" ? undefined : bias,
  };
}

function matMulNBits(index: GraphIndex, node: Node): Parts | undefined {
  const [, weight, scales, zeroPoints, , bias] = node.inputs;
  const scale = index.constant(scales);
  if (index.constant(weight) === undefined || scale === undefined) return undefined;
  return {
    kind: "MatMulNBits",
    ...ends(node),
    weight,
    layout: "NBits",
    bits: intAttribute(node, "bits", 4),
    blockSize: intAttribute(node, "block_size", 0),
    scales,
    ...(zeroPoints ? { zeroPoints } : {}),
    inFeatures: intAttribute(node, "K", 0),
    outFeatures: intAttribute(node, "N", 0),
    dtype: scale.dtype,
    fusedBias: bias ? bias : undefined,
  };
}

function matMulInteger(index: GraphIndex, node: Node): Parts | undefined {
  const [quantised, weight, , zeroPoints] = node.inputs;
  const quantiser = index.producer(quantised);
  if (quantiser?.opType !== "DynamicQuantizeLinear") return undefined;
  const cast = only(index, node.outputs[0], "Cast");
  const scaled = cast === undefined ? undefined : only(index, cast.outputs[0], "Mul");
  if (cast === undefined || scaled === undefined) return undefined;
  const scaleProduct = scaled.inputs.find((value) => value !== cast.outputs[0]);
  const product = scaleProduct === undefined ? undefined : index.producer(scaleProduct);
  const scales = product?.opType === "Mul"
    ? product.inputs.find((value) => value !== quantiser.outputs[1])
    : undefined;
  if (scales === undefined) return undefined;
  return integerParts(index, node, {
    input: quantiser.inputs[0],
    output: scaled.outputs[0],
    weight,
    scales,
    zeroPoints,
  });
}

/** ONNX Runtime's fusion from the float input to the float output, bias included. */
function dynamicQuantizeMatMul(index: GraphIndex, node: Node): Parts | undefined {
  const [input, weight, scales, zeroPoints, fusedBias] = node.inputs;
  const output = node.outputs[0];
  return integerParts(index, node, { input, output, weight, scales, zeroPoints, fusedBias });
}

/** ONNX Runtime's fusion from the quantised input on. */
function matMulIntegerToFloat(index: GraphIndex, node: Node): Parts | undefined {
  const [quantised, weight, , scales, , zeroPoints, fusedBias] = node.inputs;
  const quantiser = index.producer(quantised);
  if (quantiser?.opType !== "DynamicQuantizeLinear") return undefined;
  const [input] = quantiser.inputs;
  const output = node.outputs[0];
  return integerParts(index, node, { input, output, weight, scales, zeroPoints, fusedBias });
}

interface IntegerValues {
  readonly input: string;
  readonly output: string;
  readonly weight: string;
  readonly scales: string;
  readonly zeroPoints?: string;
  readonly fusedBias?: string;
}

function integerParts(index: GraphIndex, node: Node, values: IntegerValues): Parts | undefined {
  const { input, output, weight, scales, zeroPoints, fusedBias } = values;
  const stored = index.constant(weight);
  if (stored?.dims.length !== 2 || index.constant(scales) === undefined) return undefined;
  return {
    kind: "MatMulInteger",
    node,
    input,
    output,
    weight,
    layout: "KN",
    bits: bitsOf(stored.dtype),
    scales,
    axis: 1,
    ...(zeroPoints ? { zeroPoints } : {}),
    inFeatures: stored.dims[0],
    outFeatures: stored.dims[1],
    dtype: "float32",
    fusedBias: fusedBias ? fusedBias : undefined,
  };
}

const ends = (node: Node) => ({ node, input: node.inputs[0], output: node.outputs[0] });

/** The one reader of `value` if it is an `opType` and the value is no graph output. */
function only(index: GraphIndex, value: string, opType: string): Node | undefined {
  const readers = index.consumers(value);
  const [reader] = readers;
  if (readers.length !== 1 || index.isOutput(value)) return undefined;
  return reader.opType === opType && reader.domain === "" ? reader : undefined;
}

function biasAfter(index: GraphIndex, output: string, outFeatures: number) {
  const add = only(index, output, "Add");
  const weight = add?.inputs.find((value) => value !== output);
  if (add === undefined || weight === undefined) return undefined;
  const dims = index.constant(weight)?.dims;
  if (dims === undefined || dims.at(-1) !== outFeatures) return undefined;
  if (dims.slice(0, -1).some((dim) => dim !== 1)) return undefined;
  return { weight, output: add.outputs[0] };
}
