/**
 * The product inside ONNX Runtime's fused attention as a linear layer: queries, keys and values in
 * one weight [in, queries + keys + values].
 */
import { intAttribute } from "../graph/attributes.ts";
import { fusedAttentionInputs } from "../graph/fused_attention.ts";
import type { Node } from "../graph/types.ts";
import type { GraphIndex } from "./graph_index.ts";
import { integerParts, quantiserOf } from "./integer_linear.ts";
import type { LinearParts } from "./linear_form.ts";
import { matrixBehind } from "./linear_weight.ts";

/**
 * The linear layer in an Attention or QAttention. The graph has no value for its result: `output` is the
 * attention's result until `open_attention.ts` decomposes the node.
 *
 * @returns `undefined` if the attention cannot be decomposed because it rotates queries or keeps a cache
 */
export function attentionLinear(index: GraphIndex, node: Node): LinearParts | undefined {
  if (!canBeOpened(index, node)) return undefined;
  return node.opType === "Attention" ? floatProduct(index, node) : integerProduct(index, node);
}

function canBeOpened(index: GraphIndex, node: Node): boolean {
  const { bias, past } = fusedAttentionInputs(node);
  if (past !== "" || node.outputs[1]) return false;
  // A computed bias does not belong to a layer of a checkpoint.
  if (bias !== "" && index.constant(bias) === undefined) return false;
  return ["do_rotary", "past_present_share_buffer"].every((name) =>
    intAttribute(node, name, 0) === 0
  );
}

function floatProduct(index: GraphIndex, node: Node): LinearParts | undefined {
  const { input, weight, bias } = fusedAttentionInputs(node);
  const stored = matrixBehind(index, weight);
  if (stored === undefined) return undefined;
  const kind = stored.scales === undefined ? "MatMul" : "DequantizeLinear";
  return { ...stored, kind, node, input, output: node.outputs[0], fusedBias: bias || undefined };
}

function integerProduct(index: GraphIndex, node: Node): LinearParts | undefined {
  const inputs = fusedAttentionInputs(node);
  const quantiser = quantiserOf(index, inputs.input);
  if (quantiser === undefined) return undefined;
  return integerParts(index, node, {
    input: quantiser.inputs[0],
    output: node.outputs[0],
    weight: inputs.weight,
    scales: inputs.weightScale,
    zeroPoints: inputs.weightZeroPoint,
    fusedBias: inputs.bias,
  });
}
