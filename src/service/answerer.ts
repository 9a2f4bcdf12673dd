/** A model that answers texts, one after another: with a text, classes or a vector, by its kind. */
import type { OpenedModel } from "../model/open_model.ts";
import { openModel } from "../model/open_model.ts";
import type { Runner } from "../runtime/runner.ts";
import { CausalModel } from "../serve/causal_model.ts";
import { withSentenceEmbedding } from "../serve/embedding_graph.ts";
import { encodeText } from "../serve/encode_text.ts";
import { EncoderModel } from "../serve/encoder_model.ts";
import { TextGenerator } from "../serve/text_generator.ts";
import { shortened, topClasses } from "../serve/top_classes.ts";
import { RuntimeFailure } from "../errors.ts";

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
  readonly kind: OpenedModel["kind"];
  ask(text: string, options: AskOptions): Promise<Answer>;
}

/** Text of the probe, short and always the same. */
const PROBE_TEXT = "ready";

/**
 * Opens a model folder and compiles it.
 *
 * @throws {GraftError} if it cannot be loaded
 */
export async function openAnswerer(runner: Runner, path: string): Promise<Answerer> {
  using resources = new DisposableStack();
  const opened = resources.use(await openModel(path));
  const ask = opened.kind === "causal"
    ? await generator(runner, opened, resources)
    : await encoder(runner, opened, resources);
  const kept = resources.move();
  return { kind: opened.kind, ask, [Symbol.dispose]: () => kept.dispose() };
}

async function generator(
  runner: Runner,
  opened: OpenedModel,
  resources: DisposableStack,
): Promise<Answerer["ask"]> {
  const causal = resources.use(await CausalModel.open(runner, opened.model, opened.file));
  const generator = new TextGenerator(causal, opened.text, {
    endIds: opened.endIds,
    contextSize: opened.maxLength,
  });
  return async (text, { maxTokens, signal, onInference }) => {
    const options = { temperature: 0, maxTokens, signal };
    const answer = opened.text.hasTemplate
      ? await generator.chat([{ role: "user", content: text }], options, onInference)
      : await generator.complete(text, options, onInference);
    onInference?.();
    return {
      text: answer.text,
      finish_reason: answer.finishReason,
      prompt_tokens: answer.promptTokens,
      completion_tokens: answer.ids.length,
    };
  };
}

async function encoder(
  runner: Runner,
  opened: OpenedModel,
  resources: DisposableStack,
): Promise<Answerer["ask"]> {
  const embeds = opened.kind === "encoder";
  const model = embeds ? withSentenceEmbedding(opened.model) : opened.model;
  const executable = resources.use(await runner.compile(model, { label: opened.file }));
  const encoder = resources.use(new EncoderModel(runner, executable, model.graph));
  return async (text, { onInference }) => {
    const { batch } = await encodeText(opened.text, text, opened.maxLength);
    if (embeds) {
      const [vector] = await encoder.embed(batch);
      onInference?.();
      return { embedding: Array.from(finite(vector), shortened) };
    }
    const [probabilities] = await encoder.classify(batch);
    onInference?.();
    const classes = topClasses(finite(probabilities), opened.labels, probabilities.length);
    return { ...classes[0], classes };
  };
}

function finite(values: Float32Array): Float32Array {
  if (values.every(Number.isFinite)) return values;
  throw new RuntimeFailure("The model's answer has values that are not numbers");
}

/** Lets a model answer a short text; rejects if it does not. */
export async function probe(answerer: Answerer): Promise<void> {
  await answerer.ask(PROBE_TEXT, { maxTokens: 1 });
}
