/** Tries adapters on a short text before requests can see them. */
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";
import { invalidAdapter } from "./adapter_errors.ts";

/** Any text will do. */
const PROBE = "The adapter is tried.";

/** Holds what an adapter answers against what the base does. */
export class AdapterProbe {
  readonly #base: InferenceModel;
  #baseAnswer: Promise<number> | undefined;

  constructor(base: InferenceModel) {
    this.#base = base;
  }

  /**
   * Tries the base with an adapter.
   *
   * @throws {ApiError} 400 if the answer is no number, or the base's own
   */
  async tryBound(matrices: AdapterMatrices): Promise<void> {
    await this.#check(answerOf(this.#base, matrices));
  }

  /**
   * Tries a model that has an adapter merged.
   *
   * @throws {ApiError} as {@linkcode tryBound}
   */
  async tryMerged(model: InferenceModel): Promise<void> {
    await this.#check(answerOf(model));
  }

  async #check(answer: Promise<number>): Promise<void> {
    const [adapted, base] = await Promise.all([
      answer,
      this.#baseAnswer ??= answerOf(this.#base),
    ]);
    if (!Number.isFinite(adapted)) throw invalidAdapter("its answers are not numbers");
    if (adapted === base) throw invalidAdapter("it does not change what the base answers");
  }
}

/** A number that depends on all that a model computes: a log-probability, a probability, or a sum. */
async function answerOf(model: InferenceModel, adapter?: AdapterMatrices): Promise<number> {
  if (model.kind === "causal") {
    const { scores } = await model.complete(PROBE, { maxTokens: 1, topLogprobs: 0, adapter });
    return scores?.[0]?.logprob ?? 0;
  }
  if (model.kind === "classifier") {
    const { classes } = await model.classify(PROBE);
    const byName = classes.toSorted((a, b) => a.label < b.label ? -1 : 1);
    return byName.reduce((sum, { probability }, i) => sum + i * probability, 0);
  }
  const { vector } = await model.embed(PROBE);
  return vector.reduce((sum, value, i) => sum + i * value, 0);
}
