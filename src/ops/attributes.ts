/**
 * Attributes of the standard operators that their rules read, or that change nothing graft computes
 * (marked). Any other attribute is refused by name, so that none is ever ignored.
 */
import type { OpRule } from "./types.ts";
import type { Node } from "../graph/types.ts";
import { unsupported } from "./args.ts";

const REDUCTION = ["axes", "keepdims", "noop_with_empty_axes"];
const KERNEL = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

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
  Cast: ["to", "saturate" /* 8-bit floats only */],
  CastLike: ["saturate" /* 8-bit floats only */],
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
  Flatten: ["axis"],
  Gather: ["axis"],
  GatherElements: ["axis"],
  GatherND: ["batch_dims"],
  Gelu: ["approximate"],
  Gemm: ["alpha", "beta", "transA", "transB"],
  GroupNormalization: ["epsilon", "num_groups", "stash_type"],
  HardSigmoid: ["alpha", "beta"],
  If: ["else_branch", "then_branch"],
  InstanceNormalization: ["epsilon"],
  IsInf: ["detect_negative", "detect_positive"],
  LayerNormalization: ["axis", "epsilon", "stash_type"],
  LeakyRelu: ["alpha"],
  LogSoftmax: ["axis"],
  LpNormalization: ["axis", "p"],
  Mod: ["fmod"],
  OneHot: ["axis"],
  Pad: ["mode", "pads", "value"],
  RMSNormalization: ["axis", "epsilon", "stash_type"],
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
  RotaryEmbedding: ["interleaved", "num_heads", "rotary_embedding_dim"],
  ScatterElements: ["axis", "reduction"],
  ScatterND: ["reduction"],
  Shape: ["end", "start"],
  SimplifiedLayerNormalization: ["axis", "epsilon", "stash_type"],
  Slice: ["axes", "ends", "starts"],
  Softmax: ["axis"],
  Split: ["axis", "num_outputs", "split"],
  Squeeze: ["axes"],
  Swish: ["alpha"],
  TopK: ["axis", "k", "largest", "sorted"],
  Transpose: ["perm"],
  Trilu: ["upper"],
  Unsqueeze: ["axes"],
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

/** The rule, refusing nodes with attributes that it does not know. */
export function strict(rule: OpRule): OpRule {
  const known = ATTRIBUTES[rule.opType] ?? [];
  const { infer, lower } = rule;
  return {
    ...rule,
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
  };
}
