/** Rules of ONNX Runtime's own operators and of quantised ones, one line each. */
import type { OpRule } from "./types.ts";
import { gatherBlockQuantized } from "./contrib/gather_block_quantized.ts";
import { groupQueryAttention } from "./contrib/group_query_attention.ts";
import { matMulNBits } from "./contrib/mat_mul_n_bits.ts";
import { rotaryEmbedding } from "./contrib/rotary_embedding.ts";
import { skipSimplifiedLayerNormalization } from "./contrib/skip_simplified_layer_normalization.ts";
import { dequantizeLinear, microsoftDequantizeLinear } from "./quantized/dequantize_linear.ts";
import { dynamicQuantizeLinear } from "./quantized/dynamic_quantize_linear.ts";
import { dynamicQuantizeMatMul } from "./quantized/dynamic_quantize_mat_mul.ts";
import { matMulInteger } from "./quantized/mat_mul_integer.ts";
import { microsoftQuantizeLinear, quantizeLinear } from "./quantized/quantize_linear.ts";
import { matMulIntegerToFloat, qLinearMatMul } from "./quantized/refused.ts";

export const CONTRIB_RULES: readonly OpRule[] = [
  gatherBlockQuantized,
  groupQueryAttention,
  matMulNBits,
  rotaryEmbedding,
  skipSimplifiedLayerNormalization,
  dequantizeLinear,
  dynamicQuantizeLinear,
  dynamicQuantizeMatMul,
  matMulInteger,
  matMulIntegerToFloat,
  microsoftDequantizeLinear,
  microsoftQuantizeLinear,
  qLinearMatMul,
  quantizeLinear,
];
