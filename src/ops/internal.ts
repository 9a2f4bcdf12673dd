/** Rules of operators that only graft's own graphs hold, one line each. */
import { Attend } from "./internal/attend.ts";
import { DropoutMask } from "./internal/dropout_mask.ts";
import { GeluAndSlope } from "./internal/gelu_and_slope.ts";
import { JoinRows, PickRows } from "./internal/pick_rows.ts";
import { QuantizedLinear } from "./internal/quantized_linear.ts";
import { Rotation } from "./internal/rotation.ts";
import { StopGradient } from "./internal/stop_gradient.ts";
import { SwiGLU, SwiGLUAndFactors } from "./internal/swiglu.ts";
import type { OpRule } from "./types.ts";

export const INTERNAL_RULES: readonly OpRule[] = [
  Attend,
  DropoutMask,
  GeluAndSlope,
  JoinRows,
  PickRows,
  QuantizedLinear,
  Rotation,
  StopGradient,
  SwiGLU,
  SwiGLUAndFactors,
];
