/**
 * com.microsoft.Attention: self-attention with the projections of queries, keys and values in one
 * weight, as ONNX Runtime's optimiser writes it for BERT and GPT-2.
 */
import { floatAttribute, int, intAttribute } from "../../graph/attributes.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { plus } from "../../graph/extent_arithmetic.ts";
import { hiddenSizes } from "../../graph/fused_attention.ts";
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { attend, biasMask } from "./attention_core.ts";
import { MASK_FILTER, paddingMask } from "./padding_mask.ts";
import {
  namedInputs,
  refuse,
  refuseOutputs,
  requireAttribute,
  required,
  requiredKnown,
} from "./support.ts";

export const Attention: OpRule = {
  opType: "Attention",
  domain: MICROSOFT,
  since: 1,
  attributes: [
    "num_heads",
    "unidirectional",
    "scale",
    "mask_filter_value",
    "qkv_hidden_sizes",
    "do_rotary",
    "rotary_embedding_dim",
    "past_present_share_buffer",
  ],
  inputs: "2..7",
  outputs: "1..2",
  remark: "without cached keys and rotary",
  traits: { kind: "attention", rows: "mixed" },

  infer(node, inputs) {
    const { dtype, dims } = requiredKnown(node, "input", inputs, 0);
    const weights = requiredKnown(node, "weights", inputs, 1);
    const [, keySize, valueSize] = hiddenSizes(node, weights.dims[1]);
    const heads = intAttribute(node, "num_heads", 1);
    const [batch, tokens] = extentsOf(dims);
    const past = inputs[4] === undefined ? 0 : extentsOf(inputs[4].dims)[3];
    return [
      { dtype, dims: asDims([batch, tokens, valueSize]) },
      { dtype, dims: asDims([2, batch, heads, plus(past, tokens), keySize / heads]) },
    ];
  },

  lower(b, node, { needed, attention }) {
    requireAttribute(node, "do_rotary", 0);
    requireAttribute(node, "rotary_embedding_dim", 0);
    requireAttribute(node, "past_present_share_buffer", 0);
    refuseOutputs(node, needed, { 1: "present" });
    const inputs = namedInputs(node, [
      "input",
      "weights",
      "bias",
      "mask_index",
      "past",
      "attention_bias",
      "!past_sequence_length",
    ]);
    const { past, mask_index, attention_bias } = inputs;
    if (past !== undefined && b.dims(past)[3] !== 0) {
      refuse(node, `input "past" with ${b.dims(past)[3]} cached tokens`);
    }
    const input = required(node, "input", inputs.input);
    const [batch, tokens] = b.shape(input);
    const heads = intAttribute(node, "num_heads", 1);

    let packed = b.op("MatMul", [input, required(node, "weights", inputs.weights)]);
    const sizes = hiddenSizes(node, b.dims(packed)[2]);
    if (inputs.bias !== undefined) packed = b.op("Add", [packed, inputs.bias]);
    const [query, key, value] = b.ops("Split", [packed, b.int64s(sizes)], 3, { axis: int(2) })
      .map((x, i) => b.reshape(x, [batch, tokens, heads, sizes[i] / heads]));

    const masks: string[] = [];
    if (mask_index !== undefined) {
      const filter = floatAttribute(node, "mask_filter_value", MASK_FILTER);
      const options = { input: "mask_index", mask: mask_index, batch, keys: tokens, filter };
      masks.push(paddingMask(b, node, options));
    }
    if (attention_bias !== undefined) masks.push(biasMask(b, attention_bias, heads));
    const causal = intAttribute(node, "unidirectional", 0) === 1 ? {} : undefined;
    const scale = floatAttribute(node, "scale", 0) || 1 / Math.sqrt(sizes[0] / heads);
    return [attend(b, { query, key, value, scale, masks, causal }, attention), ""];
  },
};
