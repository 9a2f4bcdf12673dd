/** Rules of operators that only graft's own graphs hold, one line each. */
import { attend } from "./internal/attend.ts";
import { dropoutMask } from "./internal/dropout_mask.ts";
import { geluAndSlope } from "./internal/gelu_and_slope.ts";
import { joinRows, pickRows } from "./internal/pick_rows.ts";
import { quantizedLinear } from "./internal/quantized_linear.ts";
import { rotation } from "./internal/rotation.ts";
import { swiglu, swigluAndFactors } from "./internal/swiglu.ts";
import type { OpRule } from "./types.ts";

export const INTERNAL_RULES: readonly OpRule[] = [
  attend,
  dropoutMask,
  geluAndSlope,
  joinRows,
  pickRows,
  quantizedLinear,
  rotation,
  swiglu,
  swigluAndFactors,
];
