/** The singular values of the loss's gradient with respect to each weight of the base. */
import type { FineTuneConfig, OnEvent, PreparationEvent } from "../../finetune/mod.ts";
import { prepareTraining } from "../../finetune/prepare_training.ts";
import { resolveConfig } from "../../finetune/resolve_config.ts";
import { type Tensor, toNumbers } from "../../graph/tensor.ts";
import { matrixOf } from "../../linalg/matrix.ts";
import { loraName } from "../../lora/inject.ts";
import { loraScale } from "../../lora/config.ts";
import { sketchedSingularValues } from "../../search/gradient_sketch.ts";

/** Batches whose gradients are summed. */
const BATCHES = 8;

/**
 * Estimates the singular values from the gradient of a random adapter of a rank before its first step, over
 * the first batches of the training data.
 *
 * @param config decides model, data and modules
 * @param rank rows of A, at most the inputs of the narrowest module
 * @returns by module path, descending
 * @throws {RefusedError} if memory does not suffice
 */
export async function gradientSpectra(
  config: FineTuneConfig,
  rank: number,
  { onEvent, signal }: {
    readonly onEvent: OnEvent<PreparationEvent>;
    readonly signal: AbortSignal;
  },
): Promise<ReadonlyMap<string, Float64Array>> {
  const sketch = resolveConfig({
    ...config,
    ...{ rank, rankPattern: {}, alphaPattern: {}, adapterType: ["lora"], freezeA: false },
    ...{ initLoraWeights: "gaussian", loftqModel: undefined, loraplusLrRatio: undefined },
    ...{ loraDropout: 0, epochs: undefined, iters: BATCHES, lrDecaySteps: undefined },
  });
  using parts = await prepareTraining(sketch, { onEvent, signal });
  const { model, data } = parts;
  const batches = Math.min(BATCHES, data.batches(0));
  model.zeroGrad();
  for (let i = 0; i < batches; i++) {
    signal.throwIfAborted();
    await model.accumulate(await data.batch(0, i), 0);
  }
  const parameters = new Map(model.parameters.map((parameter) => [parameter.name, parameter]));
  const suffix = loraName("", "B");
  const scale = loraScale(sketch.loraAlpha, rank, sketch.useRslora);
  return new Map(
    [...parameters].filter(([name]) => name.endsWith(suffix)).map(([name, { grad }]) => {
      const path = name.slice(0, -suffix.length);
      const a = asMatrix(parameters.get(loraName(path, "A"))!.value.view());
      return [path, sketchedSingularValues(asMatrix(grad!.view()), a, scale)];
    }),
  );
}

const asMatrix = (tensor: Tensor) =>
  matrixOf(tensor.dims[0], tensor.dims[1], toNumbers(tensor) as ArrayLike<number>);
