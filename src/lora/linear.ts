/** Recognises a linear layer in the operator forms of exporters and quantisers. */
import type { LinearForm, LinearParts } from "./linear_form.ts";
import { codebookOf } from "../graph/codebook.ts";
import { floatAttribute, intAttribute } from "../graph/attributes.ts";
import { packedFeatures } from "../ops/schema/packed_linear.ts";
import { MICROSOFT, type Node } from "../graph/types.ts";
import { attentionLinear } from "./attention_linear.ts";
import { type GraphIndex, onlyReader } from "./graph_index.ts";
import { dynamicQuantizeMatMul, matMulInteger, matMulIntegerToFloat } from "./integer_linear.ts";
import { matrixBehind } from "./linear_weight.ts";

/** The linear layer whose product is `node`; `undefined` if there is none. */
export function linearForm(index: GraphIndex, node: Node): LinearForm | undefined {
  const parts = partsOf(index, node);
  // A weight without elements can have any size, and has nothing to adapt.
  if (parts === undefined || !(parts.inFeatures > 0 && parts.outFeatures > 0)) return undefined;
  const { fusedBias, ...form } = parts;
  if (fusedBias !== undefined) {
    return { ...form, bias: { weight: fusedBias, output: form.output } };
  }
  const bias = biasAfter(index, form.output, form.outFeatures);
  return bias === undefined ? form : { ...form, bias };
}

function partsOf(index: GraphIndex, node: Node): LinearParts | undefined {
  if (node.domain === MICROSOFT) {
    switch (node.opType) {
      case "MatMulNBits":
        return matMulNBits(index, node);
      case "MatMulBnb4":
        return matMulBnb4(index, node);
      case "DynamicQuantizeMatMul":
        return dynamicQuantizeMatMul(index, node);
      case "MatMulIntegerToFloat":
        return matMulIntegerToFloat(index, node);
      case "Attention":
      case "QAttention":
        return attentionLinear(index, node);
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

function matMul(index: GraphIndex, node: Node): LinearParts | undefined {
  const stored = matrixBehind(index, node.inputs[1]);
  if (stored === undefined || index.constant(node.inputs[0]) !== undefined) return undefined;
  return {
    ...stored,
    kind: stored.scales === undefined ? "MatMul" : "DequantizeLinear",
    ...ends(node),
  };
}

function gemm(index: GraphIndex, node: Node): LinearParts | undefined {
  // A scaled or transposed Gemm is not a linear layer of a network.
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
    ...integerBiasOf(index, node),
  };
}

function integerBiasOf(index: GraphIndex, { inputs }: Node): Pick<LinearForm, "integerBias"> {
  const [input, , bias] = [0, 1, 2].map((i) => index.producer(inputs[i] ?? ""));
  if (input?.opType !== "DequantizeLinear" || bias?.opType !== "DequantizeLinear") return {};
  const [codes, scales] = bias.inputs;
  const inputScale = input.inputs[1];
  const { initializers } = index.graph;
  if (initializers.get(codes)?.dtype !== "int32" || !initializers.has(scales)) return {};
  if (index.constant(inputScale) === undefined) return {};
  return { integerBias: { codes, scales, inputScale } };
}

function matMulNBits(index: GraphIndex, node: Node): LinearParts | undefined {
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
    ...packedFeatures(node)!,
    dtype: scale.dtype,
    fusedBias: bias ? bias : undefined,
  };
}

function matMulBnb4(index: GraphIndex, node: Node): LinearParts | undefined {
  const [, weight, scales] = node.inputs;
  const scale = index.constant(scales);
  const codebook = codebookOf(node);
  const known = index.constant(weight) !== undefined && intAttribute(node, "transB", 1) === 1;
  if (!known || scale === undefined || codebook === undefined) return undefined;
  return {
    kind: "MatMulBnb4",
    ...ends(node),
    weight,
    layout: "Bnb4",
    bits: 4,
    blockSize: intAttribute(node, "block_size", 0),
    codebook,
    scales,
    ...packedFeatures(node)!,
    dtype: scale.dtype,
  };
}

const ends = (node: Node) => ({ node, input: node.inputs[0], output: node.outputs[0] });

function biasAfter(index: GraphIndex, output: string, outFeatures: number) {
  const add = onlyReader(index, output, "Add");
  const weight = add?.inputs.find((value) => value !== output);
  if (add === undefined || weight === undefined) return undefined;
  const dims = index.constant(weight)?.dims;
  if (dims === undefined || dims.at(-1) !== outFeatures) return undefined;
  if (dims.slice(0, -1).some((dim) => dim !== 1)) return undefined;
  return { weight, output: add.outputs[0] };
}
