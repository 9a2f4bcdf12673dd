/** Linear layers over dynamically quantised activations and integer weights, in their operator forms. */
import { bitsOf } from "../graph/dtype.ts";
import type { Node } from "../graph/types.ts";
import { type GraphIndex, onlyReader } from "./graph_index.ts";
import type { LinearParts } from "./linear_form.ts";

/** The node that rounds an activation at run time. */
export function quantiserOf(index: GraphIndex, quantised: string): Node | undefined {
  const node = index.producer(quantised);
  return node?.opType === "DynamicQuantizeLinear" ? node : undefined;
}

/** `DynamicQuantizeLinear → MatMulInteger → Cast → Mul`, written out. */
export function matMulInteger(index: GraphIndex, node: Node): LinearParts | undefined {
  const [quantised, weight, , zeroPoints] = node.inputs;
  const quantiser = quantiserOf(index, quantised);
  if (quantiser === undefined) return undefined;
  const cast = onlyReader(index, node.outputs[0], "Cast");
  const scaled = cast === undefined ? undefined : onlyReader(index, cast.outputs[0], "Mul");
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
export function dynamicQuantizeMatMul(index: GraphIndex, node: Node): LinearParts | undefined {
  const [input, weight, scales, zeroPoints, fusedBias] = node.inputs;
  const output = node.outputs[0];
  return integerParts(index, node, { input, output, weight, scales, zeroPoints, fusedBias });
}

/** ONNX Runtime's fusion from the quantised input on. */
export function matMulIntegerToFloat(index: GraphIndex, node: Node): LinearParts | undefined {
  const [quantised, weight, , scales, , zeroPoints, fusedBias] = node.inputs;
  const quantiser = quantiserOf(index, quantised);
  if (quantiser === undefined) return undefined;
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

/** A linear layer over integers [in, out] with one scale or one per column. */
export function integerParts(
  index: GraphIndex,
  node: Node,
  values: IntegerValues,
): LinearParts | undefined {
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
