/** Rules of ONNX Runtime's own operators and of quantised ones, one line each. */
import type { OpRule } from "./types.ts";
import { Attention } from "./contrib/attention.ts";
import { BiasAdd } from "./contrib/bias_add.ts";
import { BiasSoftmax } from "./contrib/bias_softmax.ts";
import { EmbedLayerNormalization } from "./contrib/embed_layer_normalization.ts";
import { FastGelu } from "./contrib/fast_gelu.ts";
import { FusedGemm } from "./contrib/fused_gemm.ts";
import { FusedMatMul, TransposeMatMul } from "./contrib/fused_mat_mul.ts";
import { GatherBlockQuantized } from "./contrib/gather_block_quantized.ts";
import { BiasGelu, Gelu } from "./contrib/gelu.ts";
import { GroupQueryAttention } from "./contrib/group_query_attention.ts";
import { MatMulBnb4 } from "./contrib/mat_mul_bnb4.ts";
import { MatMulNBits } from "./contrib/mat_mul_n_bits.ts";
import { MultiHeadAttention } from "./contrib/multi_head_attention.ts";
import { QuickGelu } from "./contrib/quick_gelu.ts";
import { RotaryEmbedding } from "./contrib/rotary_embedding.ts";
import { SkipLayerNormalization } from "./contrib/skip_layer_normalization.ts";
import { SkipSimplifiedLayerNormalization } from "./contrib/skip_simplified_layer_normalization.ts";
import { BitShift, BitwiseAnd } from "./quantized/bits.ts";
import { DequantizeLinear, MicrosoftDequantizeLinear } from "./quantized/dequantize_linear.ts";
import { DynamicQuantizeLinear } from "./quantized/dynamic_quantize_linear.ts";
import { DynamicQuantizeMatMul } from "./quantized/dynamic_quantize_mat_mul.ts";
import { MatMulInteger } from "./quantized/mat_mul_integer.ts";
import { QAttention } from "./quantized/q_attention.ts";
import { QEmbedLayerNormalization } from "./quantized/q_embed_layer_normalization.ts";
import { MicrosoftQuantizeLinear, QuantizeLinear } from "./quantized/quantize_linear.ts";
import { MatMulIntegerToFloat } from "./quantized/mat_mul_integer_to_float.ts";

export const CONTRIB_RULES: readonly OpRule[] = [
  Attention,
  BiasAdd,
  BiasGelu,
  BiasSoftmax,
  BitShift,
  BitwiseAnd,
  DequantizeLinear,
  DynamicQuantizeLinear,
  DynamicQuantizeMatMul,
  EmbedLayerNormalization,
  FastGelu,
  FusedGemm,
  FusedMatMul,
  GatherBlockQuantized,
  Gelu,
  GroupQueryAttention,
  MatMulBnb4,
  MatMulInteger,
  MatMulIntegerToFloat,
  MatMulNBits,
  MicrosoftDequantizeLinear,
  MicrosoftQuantizeLinear,
  MultiHeadAttention,
  QAttention,
  QEmbedLayerNormalization,
  QuantizeLinear,
  QuickGelu,
  RotaryEmbedding,
  SkipLayerNormalization,
  SkipSimplifiedLayerNormalization,
  TransposeMatMul,
];
