/** A plan that is ready to run. */
import type { TrainingPlan } from "../plan/plan.ts";
import type { DeviceTensor } from "../runtime/runner.ts";

/** A plan with its constants bound. */
export interface CompiledPlan {
  readonly plan: TrainingPlan;
  readonly constants: ReadonlyMap<string, DeviceTensor>;
}
