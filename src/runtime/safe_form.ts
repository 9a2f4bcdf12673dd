/** Rewrites a model so that ONNX Runtime computes it, or refuses it with an error. */
import { guardRanks } from "../ops/schema/guard_ranks.ts";
import { trimInputs } from "../graph/passes/trim_inputs.ts";
import type { Model } from "../graph/types.ts";

/** The model without constructs that are known to end the process; the same one if there are none. */
export function safeForm(model: Model): Model {
  return guardRanks(trimInputs(model));
}
