/**
 * Facts of the standard operators from ONNX's specification: their attributes, their first operator
 * set; and how far graft implements them.
 */
import type { OpRule } from "./types.ts";
import type { Node } from "../graph/types.ts";
import { unsupported } from "./args.ts";

const REDUCTION = ["axes", "keepdims", "noop_with_empty_axes"];
const RECURRENT = [
  "activation_alpha",
  "activation_beta",
  "activations",
  "clip",
  "direction",
  "hidden_size",
  "layout",
];
const KERNEL = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/**
 * Attributes that a rule reads, or that change nothing graft computes (marked). Any other attribute
 * is refused by name, so that none is ever ignored.
 */
const ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  ArgMax: ["axis", "keepdims", "select_last_index"],
  ArgMin: ["axis", "keepdims", "select_last_index"],
  Attention: [
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode", // only says what the refused output is
    "scale",
    "softcap",
    "softmax_precision",
  ],
  AveragePool: [...KERNEL, "ceil_mode", "count_include_pad"],
  BatchNormalization: ["epsilon", "momentum", /* training only */ "spatial", "training_mode"],
  Cast: ["to", "round_mode", "saturate"], // the last two: 8-bit floats only
  CastLike: ["round_mode", "saturate"], // 8-bit floats only
  Celu: ["alpha"],
  Clip: ["max", "min"],
  Concat: ["axis"],
  Constant: ["value", "value_float", "value_floats", "value_int", "value_ints"],
  ConstantOfShape: ["value"],
  Conv: KERNEL,
  ConvTranspose: [...KERNEL, "output_padding", "output_shape"],
  CumSum: ["exclusive", "reverse"],
  Dropout: ["ratio", "seed"], // training only
  Einsum: ["equation"],
  Elu: ["alpha"],
  EyeLike: ["dtype", "k"],
  Flatten: ["axis"],
  Gather: ["axis"],
  GatherElements: ["axis"],
  GatherND: ["batch_dims"],
  Gelu: ["approximate"],
  GRU: [...RECURRENT, "linear_before_reset"],
  Gemm: ["alpha", "beta", "transA", "transB"],
  GroupNormalization: ["epsilon", "num_groups", "stash_type"],
  HardSigmoid: ["alpha", "beta"],
  If: ["else_branch", "then_branch"],
  InstanceNormalization: ["epsilon"],
  IsInf: ["detect_negative", "detect_positive"],
  LSTM: [...RECURRENT, "input_forget"],
  LayerNormalization: ["axis", "epsilon", "stash_type"],
  LeakyRelu: ["alpha"],
  LogSoftmax: ["axis"],
  Loop: ["body"],
  LpNormalization: ["axis", "p"],
  MaxPool: [...KERNEL, "ceil_mode", "storage_order"], // the last: indices only
  Mod: ["fmod"],
  OneHot: ["axis"],
  Pad: ["mode", "pads", "value"],
  RMSNormalization: ["axis", "epsilon", "stash_type"],
  RNN: RECURRENT,
  ReduceL1: REDUCTION,
  ReduceL2: REDUCTION,
  ReduceLogSumExp: REDUCTION,
  ReduceMax: REDUCTION,
  ReduceMean: REDUCTION,
  ReduceMin: REDUCTION,
  ReduceProd: REDUCTION,
  ReduceSum: REDUCTION,
  ReduceSumSquare: REDUCTION,
  Reshape: ["allowzero", "shape"],
  Resize: [
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
  ],
  RotaryEmbedding: ["interleaved", "num_heads", "rotary_embedding_dim"],
  Scan: [
    "body",
    "num_scan_inputs",
    "scan_input_axes",
    "scan_input_directions",
    "scan_output_axes",
    "scan_output_directions",
  ],
  ScatterElements: ["axis", "reduction"],
  ScatterND: ["reduction"],
  Selu: ["alpha", "gamma"],
  Shape: ["end", "start"],
  SimplifiedLayerNormalization: ["axis", "epsilon", "stash_type"],
  Slice: ["axes", "ends", "starts"],
  Softmax: ["axis"],
  Split: ["axis", "num_outputs", "split"],
  Squeeze: ["axes"],
  Swish: ["alpha"],
  ThresholdedRelu: ["alpha"],
  TopK: ["axis", "k", "largest", "sorted"],
  Transpose: ["perm"],
  Trilu: ["upper"],
  Unsqueeze: ["axes"],
  Upsample: ["mode", "scales"],
};

/** First operator sets that have the operator, where that is not one that all models have (7). */
const SINCE: Readonly<Record<string, number>> = {
  Attention: 23,
  CastLike: 15,
  Celu: 12,
  ConstantOfShape: 9,
  CumSum: 11,
  Einsum: 12,
  Erf: 9,
  Expand: 8,
  EyeLike: 9,
  GatherElements: 11,
  GatherND: 11,
  Gelu: 20,
  GreaterOrEqual: 12,
  GroupNormalization: 18,
  HardSwish: 14,
  IsInf: 10,
  IsNaN: 9,
  LayerNormalization: 17,
  LessOrEqual: 12,
  Mish: 18,
  Mod: 10,
  NonZero: 9,
  OneHot: 9,
  RMSNormalization: 23,
  Range: 11,
  Resize: 10,
  RotaryEmbedding: 23,
  Round: 11,
  Scan: 9,
  ScatterElements: 11,
  ScatterND: 11,
  Sign: 9,
  Swish: 24,
  ThresholdedRelu: 10,
  Trilu: 14,
  Where: 9,
};

const UNROLLED = "unrolled with clip or other activations";

/** What the table of operators says beside an operator that graft implements in part. */
const REMARKS: Readonly<Record<string, string>> = {
  Attention: "without cached keys, nonpad_kv_seqlen and qk_matmul_output",
  BatchNormalization: "inference",
  Clip: "constant bounds",
  Dropout: "inference: the identity",
  Einsum: "without repeated labels in an operand",
  GRU: UNROLLED,
  GroupNormalization: "one scale a channel",
  If: "the branch that shapes select",
  LSTM: `${UNROLLED}, peepholes, input_forget`,
  LayerNormalization: "its first output",
  Loop: "unrolled where its count is known",
  MaxPool: "its first output",
  NonZero: "of constants",
  Pad: 'mode "constant"',
  RNN: UNROLLED,
  Resize: "constant sizes, scales and regions",
  Scan: "unrolled over the scanned axis",
  ScatterElements: 'reductions "none" and "add"',
  ScatterND: 'reductions "none" and "add"',
  SimplifiedLayerNormalization: "ONNX Runtime's own, in ONNX's domain",
  Upsample: "until operator set 9; constant scales",
};

function refuseUnknown(node: Node, known: readonly string[]): void {
  const unknown = Object.keys(node.attributes).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw unsupported(node, `graft does not implement attribute "${unknown}"`);
  }
  const precision = node.attributes.stash_type ?? node.attributes.softmax_precision;
  if (precision !== undefined && precision.value !== 1) {
    throw unsupported(node, "it computes in another type than float32");
  }
}

/** The rule with these facts, refusing nodes with attributes that it does not know. */
export function strict(rule: OpRule): OpRule {
  const known = ATTRIBUTES[rule.opType] ?? [];
  const { infer, lower, inline } = rule;
  return {
    ...rule,
    since: SINCE[rule.opType] ?? 7,
    remark: REMARKS[rule.opType],
    infer(node, inputs, context) {
      refuseUnknown(node, known);
      return infer(node, inputs, context);
    },
    ...lower === undefined ? {} : {
      lower(b, node, context) {
        refuseUnknown(node, known);
        return lower(b, node, context);
      },
    },
    ...inline === undefined ? {} : {
      inline(node, at) {
        refuseUnknown(node, known);
        inline(node, at);
      },
    },
  };
}
