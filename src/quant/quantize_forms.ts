/** The operators that a float linear layer becomes when its weight is quantised. */
import { floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import { dequantizeNode, INT4_BLOCKS_SINCE } from "../graph/dequantize_node.ts";
import { byteLength, type DataType } from "../graph/dtype.ts";
import { isFusedAttention } from "../graph/fused_attention.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { MICROSOFT, type Node } from "../graph/types.ts";
import { BadInputError } from "../errors.ts";
import { IntegerMatrix } from "./integer_matrix.ts";
import { NBitsMatrix } from "./nbits_matrix.ts";
import type { Scratch } from "./scratch.ts";
import type { QuantisedMatrix } from "./types.ts";

/** A linear layer y = x·Wᵀ with a float weight; `findModules` in `src/lora` finds them. */
export interface FloatLinear {
  /** `MatMul` or `Gemm` for a float weight that is read directly; other kinds are not changed. */
  readonly kind: string;
  readonly node: Node;
  /** Value name of the weight. */
  readonly weight: string;
  /** Whether the weight is stored [in, out] (`KN`) or [out, in] (`NK`). */
  readonly layout: string;
  /** Present for weights that are quantised already. */
  readonly scales?: string;
  readonly dtype: DataType;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** For a part of a fused layer: the output features of the whole layer. */
  readonly slice?: { readonly total: number };
}

type TensorType = readonly [dtype: DataType, dims: readonly number[]];

/** A layer's quantised form: nodes that replace its own, and the initializers they read. */
export interface QuantisedForm {
  readonly nodes: readonly Node[];
  readonly names: { readonly codes: string; readonly scales: string };
  readonly types: { readonly codes: TensorType; readonly scales: TensorType };
  /**
   * A matrix of this form, all zeros.
   *
   * @param scratch holds its codes until the next call with it
   */
  empty(scratch: Scratch): QuantisedMatrix;
}

/** Output features of the whole layer. */
export const rowsOf = ({ slice, outFeatures }: FloatLinear) => slice?.total ?? outFeatures;

/** `com.microsoft.MatMulNBits` of 4 bits with a scale per block of inputs. */
export function blockwiseForm(
  linear: FloatLinear,
  blockSize: number,
  accuracyLevel?: number,
): QuantisedForm {
  const { node, dtype, inFeatures: cols } = linear;
  const rows = rowsOf(linear);
  const blocks = Math.ceil(cols / blockSize);
  const names = { codes: `${linear.weight}_Q4`, scales: `${linear.weight}_scales` };
  const types = {
    codes: ["uint8", [rows, blocks, blockSize / 2]],
    scales: [dtype, [rows, blocks]],
  } as const;
  const attributes = {
    K: int(cols),
    N: int(rows),
    bits: int(4),
    block_size: int(blockSize),
    ...(accuracyLevel === undefined ? {} : { accuracy_level: int(accuracyLevel) }),
  };
  const layout = { bits: 4, blockSize, rows, cols } as const;
  const product = (output: string): Node => ({
    ...node,
    opType: "MatMulNBits",
    domain: MICROSOFT,
    inputs: [node.inputs[0], names.codes, names.scales],
    outputs: [output],
    attributes,
  });
  return {
    nodes: withBias(node, product),
    names,
    types,
    empty: (scratch) => new NBitsMatrix(layout, zeros(types, scratch)),
  };
}

/**
 * `DequantizeLinear` of int4 with a scale per block of inputs, before a `MatMul`: the 4-bit form that
 * TensorRT accepts, with blocks along the first axis of [in, out]. ONNX Runtime converts it to
 * MatMulNBits when it loads the model.
 *
 * @throws {BadInputError} if the operator set or the file format is too old for it
 */
export function blockwiseQdqForm(
  linear: FloatLinear,
  blockSize: number,
  { opset, irVersion }: typeof INT4_BLOCKS_SINCE,
): QuantisedForm {
  if (opset < INT4_BLOCKS_SINCE.opset || irVersion < INT4_BLOCKS_SINCE.irVersion) {
    throw new BadInputError(
      `Cannot quantise "${linear.weight}" to int4 for DequantizeLinear: blocks of it need opset ` +
        `${INT4_BLOCKS_SINCE.opset} and IR version ${INT4_BLOCKS_SINCE.irVersion}: current values are ${opset} and ` +
        `${irVersion}; export the model again, or write MatMulNBits instead`,
    );
  }
  const { node, dtype, inFeatures: cols } = linear;
  const rows = rowsOf(linear);
  const names = { codes: `${linear.weight}_DQ_Q4`, scales: `${linear.weight}_DQ_scales` };
  const types = {
    codes: ["int4", [cols, rows]],
    scales: [dtype, [Math.ceil(cols / blockSize), rows]],
  } as const;
  const dequantize = dequantizeNode(node, [names.codes, names.scales], {
    axis: int(0),
    block_size: int(blockSize),
  });
  const [dequantized] = dequantize.outputs;
  const product = (output: string): Node => ({
    ...node,
    opType: "MatMul",
    inputs: [node.inputs[0], dequantized],
    outputs: [output],
    attributes: {},
  });
  return {
    nodes: [dequantize, ...withBias(node, product)],
    names,
    types,
    empty: (scratch) =>
      new IntegerMatrix({ outFirst: false, axis: 0, blockSize }, zeros(types, scratch)),
  };
}

/** Adds Gemm's bias by a separate node, because MatMulNBits accepts a bias only in newer releases. */
function withBias(node: Node, product: (output: string) => Node): readonly Node[] {
  const [output] = node.outputs;
  const bias = node.opType === "Gemm" ? node.inputs[2] : undefined;
  if (!bias) return [product(output)];
  const inner = `${output}.product`;
  const add: Node = {
    name: `${node.name}.bias`,
    opType: "Add",
    domain: "",
    inputs: [inner, bias],
    outputs: [output],
    attributes: {},
  };
  return [product(inner), add];
}

/** Whether a layer can have this form: a Gemm whose bias is scaled cannot. */
export function canQuantize({ node, kind, scales }: FloatLinear): boolean {
  // The operator around the product does not accept a quantised weight.
  if (scales !== undefined || isFusedAttention(node)) return false;
  return kind === "MatMul" || (kind === "Gemm" && floatAttribute(node, "beta", 1) === 1);
}

/**
 * `DequantizeLinear` of int8 with a scale per output channel, before the layer's own operator.
 *
 * @throws {BadInputError} if the operator set is too old for a scale per channel
 */
export function perChannelForm(linear: FloatLinear, opset: number): QuantisedForm {
  const { node, dtype, inFeatures: cols } = linear;
  const needed = dtype === "float32" ? 13 : 19;
  if (opset < needed) {
    throw new BadInputError(
      `Cannot quantise "${linear.weight}" to int8: DequantizeLinear to ${dtype} per channel needs opset ` +
        `${needed}: current value is ${opset}; export the model again, or use 4 bits`,
    );
  }
  const rows = rowsOf(linear);
  const outFirst = node.opType === "Gemm" && intAttribute(node, "transB", 0) !== 0;
  const names = { codes: `${linear.weight}_quantized`, scales: `${linear.weight}_scale` };
  const types = {
    codes: ["int8", outFirst ? [rows, cols] : [cols, rows]],
    scales: [dtype, [rows]],
  } as const;
  const axis = outFirst ? 0 : 1;
  const dequantize = dequantizeNode(node, [names.codes, names.scales], { axis: int(axis) });
  const [dequantized] = dequantize.outputs;
  const inputs = node.inputs.map((input, i) => i === 1 ? dequantized : input);
  return {
    nodes: [dequantize, { ...node, inputs }],
    names,
    types,
    // Symmetric: −128 would have no positive counterpart.
    empty: (scratch) =>
      new IntegerMatrix({ outFirst, axis, blockSize: 0 }, zeros(types, scratch), {
        min: -127,
        max: 127,
      }),
  };
}

function zeros({ codes, scales }: QuantisedForm["types"], scratch: Scratch) {
  const make = (name: string, [dtype, dims]: TensorType): Tensor => {
    const bytes = scratch.uint8(name, byteLength(dtype, elementCount(dims))).fill(0);
    return { dtype, dims, bytes };
  };
  return { codes: make("empty", codes), scales: make("empty scales", scales) };
}
