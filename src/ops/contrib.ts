/** Rules of ONNX Runtime's own operators and of quantised ones, one line each. */
import type { OpRule } from "./types.ts";
import { attention } from "./contrib/attention.ts";
import { biasAdd } from "./contrib/bias_add.ts";
import { biasSoftmax } from "./contrib/bias_softmax.ts";
import { embedLayerNormalization } from "./contrib/embed_layer_normalization.ts";
import { fastGelu } from "./contrib/fast_gelu.ts";
import { fusedGemm } from "./contrib/fused_gemm.ts";
import { fusedMatMul, transposeMatMul } from "./contrib/fused_mat_mul.ts";
import { gatherBlockQuantized } from "./contrib/gather_block_quantized.ts";
import { biasGelu, gelu } from "./contrib/gelu.ts";
import { groupQueryAttention } from "./contrib/group_query_attention.ts";
import { matMulBnb4 } from "./contrib/mat_mul_bnb4.ts";
import { matMulNBits } from "./contrib/mat_mul_n_bits.ts";
import { multiHeadAttention } from "./contrib/multi_head_attention.ts";
import { quickGelu } from "./contrib/quick_gelu.ts";
import { rotaryEmbedding } from "./contrib/rotary_embedding.ts";
import { skipLayerNormalization } from "./contrib/skip_layer_normalization.ts";
import { skipSimplifiedLayerNormalization } from "./contrib/skip_simplified_layer_normalization.ts";
import { bitShift, bitwiseAnd } from "./quantized/bits.ts";
import { dequantizeLinear, microsoftDequantizeLinear } from "./quantized/dequantize_linear.ts";
import { dynamicQuantizeLinear } from "./quantized/dynamic_quantize_linear.ts";
import { dynamicQuantizeMatMul } from "./quantized/dynamic_quantize_mat_mul.ts";
import { matMulInteger } from "./quantized/mat_mul_integer.ts";
import { qAttention } from "./quantized/q_attention.ts";
import { qEmbedLayerNormalization } from "./quantized/q_embed_layer_normalization.ts";
import { microsoftQuantizeLinear, quantizeLinear } from "./quantized/quantize_linear.ts";
import { matMulIntegerToFloat } from "./quantized/mat_mul_integer_to_float.ts";

export const CONTRIB_RULES: readonly OpRule[] = [
  attention,
  biasAdd,
  biasGelu,
  biasSoftmax,
  bitShift,
  bitwiseAnd,
  dequantizeLinear,
  dynamicQuantizeLinear,
  dynamicQuantizeMatMul,
  embedLayerNormalization,
  fastGelu,
  fusedGemm,
  fusedMatMul,
  gatherBlockQuantized,
  gelu,
  groupQueryAttention,
  matMulBnb4,
  matMulInteger,
  matMulIntegerToFloat,
  matMulNBits,
  microsoftDequantizeLinear,
  microsoftQuantizeLinear,
  multiHeadAttention,
  qAttention,
  qEmbedLayerNormalization,
  quantizeLinear,
  quickGelu,
  rotaryEmbedding,
  skipLayerNormalization,
  skipSimplifiedLayerNormalization,
  transposeMatMul,
];
