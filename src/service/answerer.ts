/** A model that answers texts, one after another: with a text, classes or a vector, by its kind. */
import { RuntimeFailure } from "../errors.ts";
import type { ModelKind } from "../model/model_kind.ts";
import type { Runner } from "../runtime/runner.ts";
import { shortened } from "../serve/top_classes.ts";
import { InferenceModel } from "../tasks/inference_model.ts";

/** An answer, as JSON. */
export type Answer = Readonly<Record<string, unknown>>;

export interface AskOptions {
  /** Tokens to generate at most. */
  readonly maxTokens: number;
  /** Ends the generation. */
  readonly signal?: AbortSignal;
  /** Called whenever an inference has ended. */
  readonly onInference?: () => void;
}

export interface Answerer extends Disposable {
  /** What kind of answer it gives. */
  readonly kind: ModelKind;
  /** The model itself, for the HTTP side. */
  readonly model?: InferenceModel;
  ask(text: string, options: AskOptions): Promise<Answer>;
}

/** One that {@linkcode openAnswerer} opens. */
export interface OpenedAnswerer extends Answerer {
  readonly model: InferenceModel;
}

/** Text of the probe, short and always the same. */
const PROBE_TEXT = "ready";

export interface OpenOptions {
  /** Answers at the same time; default 1. */
  readonly parallel?: number;
  /** Modules whose adapters can be switched; default none. */
  readonly loraTargetModules?: readonly string[];
}

/**
 * Opens a model folder and compiles it.
 *
 * @throws {GraftError} if it cannot be loaded
 */
export async function openAnswerer(
  runner: Runner,
  path: string,
  { parallel = 1, loraTargetModules }: OpenOptions = {},
): Promise<OpenedAnswerer> {
  const model = await InferenceModel.open(
    { model: path, parallel, loraTargetModules },
    { runner },
  );
  try {
    await model.prepare(METHODS[model.kind]);
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
  return {
    kind: model.kind,
    model,
    ask: (text, options) => ASK[model.kind](model, text, options),
    [Symbol.dispose]: () => model[Symbol.dispose](),
  };
}

const METHODS = { causal: "generate", classifier: "classify", encoder: "embed" } as const;

type Ask = (model: InferenceModel, text: string, options: AskOptions) => Promise<Answer>;

/** How each kind of model is asked. */
const ASK: Readonly<Record<ModelKind, Ask>> = {
  async causal(model, text, { maxTokens, signal, onInference }) {
    const answer = await model.answer(text, { temperature: 0, maxTokens, signal }, onInference);
    onInference?.();
    return {
      text: answer.text,
      finish_reason: answer.finishReason,
      prompt_tokens: answer.promptTokens,
      completion_tokens: answer.ids.length,
    };
  },
  async classifier(model, text, { onInference }) {
    const { classes } = await model.classify(text);
    onInference?.();
    checkFinite(classes.map(({ probability }) => probability));
    return { ...classes[0], classes };
  },
  async encoder(model, text, { onInference }) {
    const { vector } = await model.embed(text);
    onInference?.();
    checkFinite(vector);
    return { embedding: Array.from(vector, shortened) };
  },
};

function checkFinite(values: Iterable<number>): void {
  for (const value of values) {
    if (Number.isFinite(value)) continue;
    throw new RuntimeFailure("The model's answer has values that are not numbers");
  }
}

/** Lets a model answer a short text; rejects if it does not. */
export async function probe(answerer: Answerer): Promise<void> {
  await answerer.ask(PROBE_TEXT, { maxTokens: 1 });
}
