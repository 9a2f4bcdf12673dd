/** The passes over the calls of a step, once each has its graph, in their order. */
import type { Tensor } from "../graph/tensor.ts";
import { formOfProducts, IN_FLOATS } from "./arithmetic.ts";
import type { PlannedCall } from "./call.ts";
import type { Pass, PlanChoices } from "./options.ts";
import { applyPasses, type PlanningPass } from "./planning_pass.ts";
import { graphSharing } from "./share_graphs.ts";
import { withSharedWeights } from "./share_weights.ts";
import { withSignedActivations } from "./signed_activations.ts";
import type { PreprocessingCall } from "./weight_preprocessing.ts";

/** All calls of a plan. */
export interface StepCalls extends Readonly<Record<Pass, readonly PlannedCall[]>> {
  readonly preprocessing: readonly PreprocessingCall[];
}

export interface StepPassContext {
  readonly options: PlanChoices;
  /** What calls read of the model. */
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Calls of the frozen layers, which are known by number and stay as they are. */
  readonly frozenCalls: number;
}

export type StepPass = PlanningPass<StepCalls, StepPassContext>;

export const STEP_PASSES: readonly StepPass[] = [
  {
    name: "signed-activations",
    does: "rounds activations to signed integers, where the arithmetic has that",
    isOptional: false,
    apply: (calls, { options: { arithmetic = IN_FLOATS } }) =>
      formOfProducts(arithmetic) === "s8s8" ? eachSchedule(calls, withSignedActivations) : calls,
  },
  {
    name: "share-graphs",
    does: "gives equal calls one graph between them",
    isOptional: true,
    apply(calls) {
      const share = graphSharing();
      return eachSchedule({ ...calls, preprocessing: share(calls.preprocessing) }, share);
    },
  },
  {
    name: "share-weights",
    does: "makes what calls compute of weights alone once for several parts of a batch",
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
