/** Rules of the ONNX domain, one line each. */
import { ACTIVATION_RULES } from "./activations.ts";
import { ARITHMETIC_RULES } from "./arithmetic.ts";
import { Attention } from "./attention.ts";
import { Cast, CastLike } from "./cast.ts";
import { CHANNEL_NORMALIZATION_RULES } from "./channel_normalization.ts";
import { COMPARISON_RULES } from "./comparison.ts";
import { Concat, Split } from "./concat.ts";
import { Constant, ConstantOfShape, EyeLike, Range } from "./constant.ts";
import { Conv, ConvTranspose } from "./conv.ts";
import { CumSum } from "./cum_sum.ts";
import { Dropout } from "./dropout.ts";
import { Einsum } from "./einsum.ts";
import { Expand, Tile } from "./expand.ts";
import { Gather, GatherElements, GatherND } from "./gather.ts";
import { Gemm } from "./gemm.ts";
import { GRU } from "./gru.ts";
import { If } from "./if.ts";
import { LayerNormalization } from "./layer_normalization.ts";
import { Loop } from "./loop.ts";
import { LSTM } from "./lstm.ts";
import { MatMul } from "./mat_mul.ts";
import { Pad } from "./pad.ts";
import { POOL_RULES } from "./pool.ts";
import { REDUCE_RULES } from "./reduce.ts";
import { RESHAPE_RULES } from "./reshape.ts";
import { RESIZE_RULES } from "./resize.ts";
import { RMSNormalization, SimplifiedLayerNormalization } from "./rms_normalization.ts";
import { RNN } from "./rnn.ts";
import { RotaryEmbedding } from "./rotary_embedding.ts";
import { Scan } from "./scan.ts";
import { ScatterElements, ScatterND } from "./scatter.ts";
import { SELECTION_RULES } from "./selection.ts";
import { Shape, Size } from "./shape.ts";
import { Slice } from "./slice.ts";
import { LogSoftmax, Softmax } from "./softmax.ts";
import { Transpose } from "./transpose.ts";
import { Trilu } from "./trilu.ts";
import { UNARY_RULES } from "./unary.ts";
import { Where } from "./where.ts";
import type { OpRule } from "./types.ts";

export const STANDARD_RULES: readonly OpRule[] = [
  ...ACTIVATION_RULES,
  ...ARITHMETIC_RULES,
  Attention,
  Cast,
  CastLike,
  ...CHANNEL_NORMALIZATION_RULES,
  ...COMPARISON_RULES,
  Concat,
  Constant,
  ConstantOfShape,
  Conv,
  ConvTranspose,
  CumSum,
  Dropout,
  Einsum,
  Expand,
  EyeLike,
  Gather,
  GatherElements,
  GatherND,
  Gemm,
  GRU,
  If,
  LayerNormalization,
  LogSoftmax,
  Loop,
  LSTM,
  MatMul,
  Pad,
  ...POOL_RULES,
  Range,
  ...REDUCE_RULES,
  ...RESHAPE_RULES,
  ...RESIZE_RULES,
  RMSNormalization,
  RNN,
  RotaryEmbedding,
  Scan,
  ScatterElements,
  ScatterND,
  ...SELECTION_RULES,
  Shape,
  SimplifiedLayerNormalization,
  Size,
  Slice,
  Softmax,
  Split,
  Tile,
  Transpose,
  Trilu,
  ...UNARY_RULES,
  Where,
];
