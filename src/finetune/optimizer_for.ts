/** The optimiser that a configuration asks for. */
import type { Tensor } from "../graph/tensor.ts";
import { loraScale } from "../lora/config.ts";
import { gradientProjection } from "../lora/gradient_projection.ts";
import { PatternValues } from "../lora/pattern.ts";
import type { Runner } from "../runtime/runner.ts";
import { graphOptimizer } from "../train/graph_optimizer.ts";
import type { Optimizer } from "../train/optimizer.ts";
import { loraplusStep } from "../train/parameter_step.ts";
import { defaultSettings } from "../train/update_rules.ts";
import type { AdaptedModel } from "./adapted_model.ts";
import type { ChosenStep } from "./choose_step.ts";
import type { FineTuneConfig } from "./config.ts";

/** Makes the optimiser of a run's parameters. */
export function optimizerFor(
  runner: Runner,
  adapted: AdaptedModel,
  { step, fit: { shards } }: Pick<ChosenStep, "step" | "fit">,
  { optimizer, weightDecay, loraplusLrRatio }: FineTuneConfig,
): Promise<Optimizer> {
  const stepOfTensor = loraplusLrRatio === undefined ? undefined : loraplusStep(loraplusLrRatio);
  return graphOptimizer(runner, step.parameters, { ...defaultSettings(optimizer), weightDecay }, {
    shards,
    stepOf: stepOfTensor && ((name) => stepOfTensor(adapted.trainable.get(name)!)),
    projections: optimizer === "lorafa" ? projectionsOf(adapted) : undefined,
  });
}

/** LoRA-FA's factors of the gradients of all B, by name. */
function projectionsOf(
  { model, trainable, config }: AdaptedModel,
): ReadonlyMap<string, Tensor> {
  const [ranks, alphas] = [config.rankPattern, config.alphaPattern].map((p) =>
    new PatternValues(p)
  );
  const down = new Map<string, Tensor>();
  for (const [name, { path, which }] of trainable) {
    if (which === "A") down.set(path, model.graph.initializers.get(name)!);
  }
  return new Map([...trainable].flatMap(([name, { path, which }]) => {
    if (which !== "B") return [];
    const rank = ranks.of(path) ?? config.rank;
    const scale = loraScale(alphas.of(path) ?? config.alpha, rank, config.useRslora);
    return [[name, gradientProjection(down.get(path)!, scale)]];
  }));
}
