/**
 * Optimisers as graph builders: one parameter's update from its gradient and its moments.
 *
 * Everything that changes from step to step is a scalar input (host numbers, in double precision
 * until they cross), so one compiled graph serves the whole run.
 */
import type { GraphBuilder } from "../graph/builder.ts";

/** Names of the optimisers, as mlx_lm, PyTorch and PEFT spell them. */
export const OPTIMIZER_NAMES = ["adamw", "adam", "sgd", "lorafa"] as const;
/** One of {@linkcode OPTIMIZER_NAMES}. */
export type OptimizerName = typeof OPTIMIZER_NAMES[number];

/** What does not change during a run; defaults are PyTorch's. */
export interface OptimizerSettings {
  readonly name: OptimizerName;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** PyTorch's defaults, with the weight decay of the LoRA recipes: none. */
export const OPTIMIZER_DEFAULTS: Omit<OptimizerSettings, "name"> = {
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
};

/** The settings of an optimiser that nobody set: PyTorch's, or PEFT's for its own. */
export function defaultSettings(name: OptimizerName): OptimizerSettings {
  return { ...OPTIMIZER_DEFAULTS, name, ...(name === "lorafa" ? { eps: 1e-6 } : {}) };
}

/** One optimiser: its state per parameter, its scalars per step, its algebra. */
export interface UpdateRule {
  /** Names of the moments, each of the parameter's shape, zero at the start. */
  readonly slots: readonly string[];
  /**
   * Values of the rule's scalar inputs.
   *
   * @param step the update's number, counted from 1
   */
  scalars(settings: OptimizerSettings, learningRate: number, step: number): Record<string, number>;
  /**
   * Emits the update of one parameter.
   *
   * @param grad the gradient, scaled and clipped already
   * @param scalars value names of the scalar inputs
   * @returns value names of the new parameter and the new moments, in the order of `slots`
   */
  emit(
    b: GraphBuilder,
    settings: OptimizerSettings,
    parameter: string,
    grad: string,
    slots: readonly string[],
    scalars: Readonly<Record<string, string>>,
  ): { readonly parameter: string; readonly slots: readonly string[] };
}

/**
 * `m ← β₁ m + (1-β₁) g`, `v ← β₂ v + (1-β₂) g²`, `p ← p - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)`.
 *
 * Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, in PyTorch's arrangement:
 * ε is added outside the root.
 */
function emitAdam(
  b: GraphBuilder,
  { beta1, beta2, eps }: OptimizerSettings,
  parameter: string,
  grad: string,
  [m, v]: readonly string[],
  scalars: Readonly<Record<string, string>>,
): { parameter: string; slots: string[] } {
  const mul = (x: string, y: string) => b.op("Mul", [x, y]);
  const add = (x: string, y: string) => b.op("Add", [x, y]);
  const newM = add(mul(m, b.scalar(beta1)), mul(grad, b.scalar(1 - beta1)));
  const newV = add(mul(v, b.scalar(beta2)), mul(mul(grad, grad), b.scalar(1 - beta2)));
  const root = mul(b.op("Sqrt", [newV]), scalars.inverse_root_correction);
  const direction = b.op("Div", [newM, add(root, b.scalar(eps))]);
  return {
    parameter: b.op("Sub", [parameter, mul(direction, scalars.step_size)]),
    slots: [newM, newV],
  };
}

function adamScalars({ beta1, beta2 }: OptimizerSettings, learningRate: number, step: number) {
  return {
    step_size: learningRate / (1 - beta1 ** step),
    inverse_root_correction: 1 / Math.sqrt(1 - beta2 ** step),
  };
}

const adam: UpdateRule = {
  slots: ["m", "v"],
  scalars: adamScalars,
  /** The decay is part of the gradient (L2 regularisation). */
  emit(b, settings, parameter, grad, slots, scalars) {
    const decayed = settings.weightDecay === 0
      ? grad
      : b.op("Add", [grad, b.op("Mul", [parameter, b.scalar(settings.weightDecay)])]);
    return emitAdam(b, settings, parameter, decayed, slots, scalars);
  },
};

const adamw: UpdateRule = {
  slots: ["m", "v"],
  scalars: (settings, learningRate, step) => ({
    ...adamScalars(settings, learningRate, step),
    keep: 1 - learningRate * settings.weightDecay,
  }),
  /** The decay shrinks the parameter before the step (Loshchilov and Hutter, 2019). */
  emit(b, settings, parameter, grad, slots, scalars) {
    const kept = b.op("Mul", [parameter, scalars.keep]);
    return emitAdam(b, settings, kept, grad, slots, scalars);
  },
};

const sgd: UpdateRule = {
  slots: [],
  scalars: (settings, learningRate) => ({
    step_size: learningRate,
    keep: 1 - learningRate * settings.weightDecay,
  }),
  /** `p ← p - lr (g + λ p)`, without momentum. */
  emit(b, _settings, parameter, grad, _slots, scalars) {
    const kept = b.op("Mul", [parameter, scalars.keep]);
    return { parameter: b.op("Sub", [kept, b.op("Mul", [grad, scalars.step_size])]), slots: [] };
  },
};

const lorafa: UpdateRule = {
  slots: ["m", "v"],
  scalars: ({ beta1, beta2, weightDecay }, learningRate, step) => ({
    step_size: learningRate * Math.sqrt(1 - beta2 ** step) / (1 - beta1 ** step),
    inverse_root_correction: 1,
    keep: 1 - learningRate * weightDecay,
  }),
  /**
   * PEFT's `LoraFAOptimizer`, for gradients that are projected already: AdamW as in the paper, with ε added
   * to the uncorrected root, and the decay after the step.
   */
  emit(b, settings, parameter, grad, slots, scalars) {
    const stepped = emitAdam(b, settings, parameter, grad, slots, scalars);
    return { ...stepped, parameter: b.op("Mul", [stepped.parameter, scalars.keep]) };
  },
};

/** The rule behind each name. */
export const UPDATE_RULES: Readonly<Record<OptimizerName, UpdateRule>> = {
  adamw,
  adam,
  sgd,
  lorafa,
};
