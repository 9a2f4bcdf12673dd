/** Parameters that an optimiser updates differently from others, as PyTorch's `param_groups` do. */
import type { Trainable } from "../lora/trainable.ts";

/** What differs in the update of a parameter. */
export interface ParameterStep {
  /** Factor of the learning rate. */
  readonly rateFactor: number;
  /** Whether weight decay shrinks it. */
  readonly decays: boolean;
}

/** The step of all parameters, unless something else is asked for. */
export const SAME_STEP: ParameterStep = { rateFactor: 1, decays: true };

/**
 * LoRA+ (Hayou et al., "LoRA+: Efficient Low Rank Adaptation of Large Models", 2024): B learns `ratio` times
 * as fast as A. Other tensors are in the groups that PEFT's `create_loraplus_optimizer` puts them in: vectors
 * learn with B and matrices with A, and biases do not decay.
 */
export function loraplusStep(ratio: number): (what: Trainable) => ParameterStep {
  return ({ which, dims }) => ({
    rateFactor: which === "B" || dims.length === 1 ? ratio : 1,
    decays: !which.endsWith("bias"),
  });
}
