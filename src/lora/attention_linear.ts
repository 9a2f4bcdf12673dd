/**
 * The product inside ONNX Runtime's fused attention as a linear layer: queries, keys and values in
 * one weight [in, queries + keys + values].
 */
import { intAttribute } from "../graph/attributes.ts";
import { fusedAttentionInputs, isFusedAttention } from "../graph/fused_attention.ts";
import type { Node } from "../graph/types.ts";
import { bitsOf } from "../graph/dtype.ts";
import type { GraphIndex } from "./graph_index.ts";
import type { LinearForm } from "./linear.ts";
import { matrixBehind } from "./linear_weight.ts";

/**
 * The linear layer in a fused attention. The graph has no value that leaves it: `output`, and the
 * value after its bias, are the attention's result, until `open_attention.ts` takes the node apart.
 *
 * @returns `undefined` where the attention cannot be taken apart: it rotates queries or keeps a cache
 */
export function attentionLinear(index: GraphIndex, node: Node): LinearForm | undefined {
  if (!isFusedAttention(node) || !canBeOpened(index, node)) return undefined;
  const form = node.opType === "Attention"
    ? floatProduct(index, node)
    : integerProduct(index, node);
  const { bias } = fusedAttentionInputs(node);
  if (form === undefined || bias === "") return form;
  return { ...form, bias: { weight: bias, output: form.output } };
}

function canBeOpened(index: GraphIndex, node: Node): boolean {
  const { bias, past } = fusedAttentionInputs(node);
  if (past !== "" || node.outputs[1]) return false;
  // A bias that is computed belongs to no layer of a checkpoint.
  if (bias !== "" && index.constant(bias) === undefined) return false;
  return ["do_rotary", "past_present_share_buffer"].every((name) =>
    intAttribute(node, name, 0) === 0
  );
}

function floatProduct(index: GraphIndex, node: Node): LinearForm | undefined {
  const { input, weight } = fusedAttentionInputs(node);
  const stored = matrixBehind(index, weight);
  if (stored === undefined) return undefined;
  return {
    ...stored,
    kind: stored.scales === undefined ? "MatMul" : "DequantizeLinear",
    node,
    input,
    output: node.outputs[0],
  };
}

function integerProduct(index: GraphIndex, node: Node): LinearForm | undefined {
  const { input, weight, weightScale, weightZeroPoint } = fusedAttentionInputs(node);
  const quantiser = index.producer(input);
  const stored = index.constant(weight);
  if (quantiser?.opType !== "DynamicQuantizeLinear" || stored?.dims.length !== 2) return undefined;
  if (index.constant(weightScale) === undefined) return undefined;
  return {
    kind: "MatMulInteger",
    node,
    input: quantiser.inputs[0],
    output: node.outputs[0],
    weight,
    layout: "KN",
    bits: bitsOf(stored.dtype),
    scales: weightScale,
    axis: 1,
    ...(weightZeroPoint === "" ? {} : { zeroPoints: weightZeroPoint }),
    inFeatures: stored.dims[0],
    outFeatures: stored.dims[1],
    dtype: "float32",
  };
}
