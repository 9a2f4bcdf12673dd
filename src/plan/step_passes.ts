/** The passes over the calls of a step, in order, once each call has its graph. */
import type { Tensor } from "../graph/tensor.ts";
import { formOfProducts, IN_FLOATS } from "./arithmetic.ts";
import type { PlannedCall } from "./call.ts";
import type { PlanChoices, StepKind } from "./options.ts";
import { applyPasses, type PlanningPass } from "./planning_pass.ts";
import { graphSharing } from "./share_graphs.ts";
import { withSharedWeights } from "./share_weights.ts";
import { withSignedActivations } from "./signed_activations.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";

/** All calls of a plan. */
export interface StepCalls extends Readonly<Record<StepKind, readonly PlannedCall[]>> {
  readonly preprocessing: readonly PreprocessingCall[];
}

export interface StepPassContext {
  readonly options: PlanChoices;
  /** Tensors of the model that calls read. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Number of calls of the frozen layers, which are referred to by index and do not change. */
  readonly frozenCalls: number;
}

export type StepPass = PlanningPass<StepCalls, StepPassContext>;

export const STEP_PASSES: readonly StepPass[] = [
  {
    name: "signed-activations",
    does: "rounds activations to signed integers, where the arithmetic says so",
    isOptional: false,
    apply: (calls, { options: { arithmetic = IN_FLOATS } }) =>
      formOfProducts(arithmetic) === "s8s8" ? eachSchedule(calls, withSignedActivations) : calls,
  },
  {
    name: "share-graphs",
    does: "makes equal calls share one graph",
    isOptional: true,
    apply(calls) {
      const share = graphSharing();
      return eachSchedule({ ...calls, preprocessing: share(calls.preprocessing) }, share);
    },
  },
  {
    name: "share-weights",
    does: "computes what follows from weights alone once for several parts of a batch",
    isOptional: true,
    apply(calls, { options: { sharesWeights }, constants, frozenCalls }) {
      if (!sharesWeights) return calls;
      const { training } = calls;
      const frozen = namesOf(constants, calls.preprocessing);
      const apart = withSharedWeights(training.slice(frozenCalls), frozen);
      return { ...calls, training: [...training.slice(0, frozenCalls), ...apart] };
    },
  },
];

/** Applies {@linkcode STEP_PASSES} to a plan's calls. */
export function finishedCalls(calls: StepCalls, context: StepPassContext): StepCalls {
  return applyPasses(STEP_PASSES, calls, context, context.options.passControl?.without);
}

function eachSchedule(
  calls: StepCalls,
  change: (calls: readonly PlannedCall[]) => readonly PlannedCall[],
): StepCalls {
  const { training, evaluation, logits } = calls;
  return {
    ...calls,
    training: change(training),
    evaluation: change(evaluation),
    logits: change(logits),
  };
}

/** Names of the tensors that no step changes. */
function namesOf(
  constants: ReadonlyMap<string, Tensor>,
  preprocessing: readonly PreprocessingCall[],
): ReadonlySet<string> {
  return new Set([
    ...constants.keys(),
    ...preprocessing.flatMap(({ fetches }) => [...fetches.values()]),
  ]);
}
