/** Rules of the ONNX domain, one line each. */
import { ARITHMETIC_RULES } from "./arithmetic.ts";
import { Cast, CastLike } from "./cast.ts";
import { COMPARISON_RULES } from "./comparison.ts";
import { Concat, Split } from "./concat.ts";
import { Constant, ConstantOfShape, Range } from "./constant.ts";
import { Expand, Tile } from "./expand.ts";
import { Gather, GatherElements, GatherND } from "./gather.ts";
import { Gemm } from "./gemm.ts";
import { LayerNormalization } from "./layer_normalization.ts";
import { MatMul } from "./matmul.ts";
import { Pad } from "./pad.ts";
import { REDUCE_RULES } from "./reduce.ts";
import { RESHAPE_RULES } from "./reshape.ts";
import { RMSNormalization, SimplifiedLayerNormalization } from "./rms_normalization.ts";
import { ScatterElements, ScatterND } from "./scatter.ts";
import { Shape, Size } from "./shape.ts";
import { Slice } from "./slice.ts";
import { LogSoftmax, Softmax } from "./softmax.ts";
import { Transpose } from "./transpose.ts";
import type { OpRule } from "./types.ts";
import { UNARY_RULES } from "./unary.ts";
import { Where } from "./where.ts";

export const STANDARD_RULES: readonly OpRule[] = [
  ...ARITHMETIC_RULES,
  Cast,
  CastLike,
  ...COMPARISON_RULES,
  Concat,
  Constant,
  ConstantOfShape,
  Expand,
  Gather,
  GatherElements,
  GatherND,
  Gemm,
  LayerNormalization,
  LogSoftmax,
  MatMul,
  Pad,
  Range,
  ...REDUCE_RULES,
  ...RESHAPE_RULES,
  RMSNormalization,
  ScatterElements,
  ScatterND,
  Shape,
  SimplifiedLayerNormalization,
  Size,
  Slice,
  Softmax,
  Split,
  Tile,
  Transpose,
  ...UNARY_RULES,
  Where,
];
