/** The form of a model that ONNX Runtime computes, or refuses with an error. */
import { guardRanks } from "../ops/schema/guard_ranks.ts";
import { trimInputs } from "../graph/passes/trim_inputs.ts";
import type { Model } from "../graph/types.ts";

/** The model without what is known to end the process; the same one where there is nothing of it. */
export function safeForm(model: Model): Model {
  return guardRanks(trimInputs(model));
}
