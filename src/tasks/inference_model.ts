/** A model ready to answer with generated text, classes or vectors, and everything that this keeps open. */
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import type { Message as ChatMessage } from "../data/mod.ts";
import { ParameterError } from "../errors.ts";
import type { ModelKind } from "../model/model_kind.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import type { OpenedModel } from "../model/open_model.ts";
import { openRunner, type RuntimeOptions } from "../runtime/open_runner.ts";
import type { Runner } from "../runtime/runner.ts";
import type { RuntimeNote } from "../runtime/runtime_note.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import { CausalModel } from "../serve/causal_model.ts";
import { withSentenceEmbedding } from "../serve/embedding_graph.ts";
import { encodeText } from "../serve/encode_text.ts";
import { EncoderModel } from "../serve/encoder_model.ts";
import { takesTurns, type TurnOptions } from "../serve/takes_turns.ts";
import {
  type GeneratedText,
  type OnText,
  TextGenerator,
  type TextOptions,
} from "../serve/text_generator.ts";
import { type ScoredClass, topClasses } from "../serve/top_classes.ts";
import { openChosen } from "./open_chosen.ts";

/** Which model answers, and how it runs. */
export interface InferenceConfig extends RuntimeOptions {
  /** Folder of an ONNX model, its `.onnx` file, the name of a pulled model, or `default`. */
  readonly model: string;
  /** Folder or name of an adapter to run on the model without merging it; default none. */
  readonly adapterPath?: string;
  /** Tokens of prompt and answer together, or of a text; default: as many as the model takes. */
  readonly ctxSize?: number;
}

/** The parameters of an {@linkcode InferenceConfig}. */
export const INFERENCE_PARAMETERS = {
  ...RUNTIME_PARAMETERS,
  model: { kind: "text", required: true },
  adapterPath: { kind: "text" },
  ctxSize: { kind: "integer", min: 1 },
} as const satisfies ParametersOf<InferenceConfig>;

/** An {@linkcode InferenceConfig} as a program writes it: absent parameters take their defaults. */
export type InferenceInput = Given<InferenceConfig, "model">;

/** What opening a model reports. */
export type InferenceEvent = RuntimeNote | AdapterNote;

/** What a caller supplies to an opened model. */
export interface InferenceSurroundings {
  /** Called with each event as it comes. */
  readonly onEvent?: (event: InferenceEvent) => void;
  /** Used instead of the configured runner; the caller owns it. */
  readonly runner?: Runner;
}

/** A text's classes, likeliest first. */
export interface Classification {
  /** Each class with its probability, 0 to 1. */
  readonly classes: readonly ScoredClass[];
  /** Whether the end of the text was left out, since the model takes no more tokens. */
  readonly truncated: boolean;
}

/** A text's vector. */
export interface Embedding {
  /** Of length 1. */
  readonly vector: Float32Array;
  /** Whether the end of the text was left out, since the model takes no more tokens. */
  readonly truncated: boolean;
}

/** How a prompt is answered. */
export interface AnswerOptions extends TextOptions, TurnOptions {}

/**
 * A model that answers. What a method needs is compiled at its first call; dispose of the model when done.
 *
 * @example
 * ```ts
 * import { InferenceModel } from "./inference_model.ts";
 *
 * using model = await InferenceModel.open({ model: "default" });
 * const { vector } = await model.embed("the hall light is on");
 * console.log(vector.length);
 * ```
 */
export class InferenceModel implements Disposable {
  readonly #resources: DisposableStack;
  readonly #opened: OpenedModel;
  readonly #runner: Runner;
  #generator: Promise<TextGenerator> | undefined;
  #classifier: Promise<EncoderModel> | undefined;
  #embedder: Promise<EncoderModel> | undefined;
  /** Tokens of prompt and answer together, or of a text; absent if the model's files state none. */
  readonly contextSize?: number;

  private constructor(
    resources: DisposableStack,
    opened: OpenedModel,
    runner: Runner,
    contextSize: number | undefined,
  ) {
    this.#resources = resources;
    this.#opened = opened;
    this.#runner = runner;
    this.contextSize = contextSize;
  }

  /**
   * Opens a model.
   *
   * @throws {ParameterError} for a setting that is unknown, out of range, or more than the model takes
   * @throws {UsageError} for execution providers that make no sense
   * @throws {BadInputError} for a model or adapter that is missing or not what it should be
   * @throws {RuntimeFailure} if ONNX Runtime is missing or cannot be used with these settings
   */
  static async open(
    input: InferenceInput,
    { onEvent = () => {}, runner }: InferenceSurroundings = {},
  ): Promise<InferenceModel> {
    const config = wholeConfig<InferenceConfig>(INFERENCE_PARAMETERS, input);
    using resources = new DisposableStack();
    const opened = resources.use(await openChosen(config, onEvent));
    const contextSize = checkedContext(config.ctxSize, opened.maxLength);
    runner ??= resources.use(openRunner(config, {
      modelBytes: opened.sizeBytes,
      onNote: (message) => onEvent({ kind: "runtime note", message }),
    }));
    return new InferenceModel(resources.move(), opened, runner, contextSize);
  }

  /** What the model gives: `causal` generates text, `classifier` classes, `encoder` vectors. */
  get kind(): ModelKind {
    return this.#opened.kind;
  }

  /** Whether the model has a chat template. */
  get hasTemplate(): boolean {
    return this.#opened.text.hasTemplate;
  }

  /**
   * Compiles what a method needs now, instead of at its first call.
   *
   * @throws {RuntimeFailure | BadInputError} if ONNX Runtime does not accept the graph
   */
  async prepare(method: "generate" | "classify" | "embed"): Promise<void> {
    if (method === "generate") await this.#generate();
    else if (method === "classify") await this.#classify();
    else await this.#embed();
  }

  /**
   * Answers a prompt: as a user's turn if the model has a chat template, else by continuing it.
   *
   * @param onText called with each piece as it is generated
   * @throws {ParameterError} for a system message if no template takes it
   * @throws {UsageError} for a prompt that is too long or has no tokens, and for sampling options out of
   * range
   */
  async answer(
    prompt: string,
    options: AnswerOptions = {},
    onText?: OnText,
  ): Promise<GeneratedText> {
    const { system, raw, ...rest } = options;
    if (!takesTurns({ system, raw }, this.hasTemplate)) {
      return await this.complete(prompt, rest, onText);
    }
    const before: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
    return await this.chat([...before, { role: "user", content: prompt }], rest, onText);
  }

  /**
   * Continues a text as it is.
   *
   * @param onText called with each piece as it is generated
   * @throws {UsageError} for a prompt that is too long or has no tokens, and for sampling options out of
   * range
   */
  async complete(
    prompt: string,
    options?: TextOptions,
    onText?: OnText,
  ): Promise<GeneratedText> {
    return await (await this.#generate()).complete(prompt, options, onText);
  }

  /**
   * Answers the last message of a chat; what the model has already read of the chat is not read again.
   *
   * @param onText called with each piece as it is generated
   * @throws {BadInputError} if the template refuses the messages
   * @throws {UsageError} if there is no template, or no room left in the context
   */
  async chat(
    messages: readonly ChatMessage[],
    options?: TextOptions,
    onText?: OnText,
  ): Promise<GeneratedText> {
    return await (await this.#generate()).chat(messages, options, onText);
  }

  /**
   * Classifies a text.
   *
   * @param count number of classes to return, at least 1; default all
   * @throws {BadInputError} if the model has no output `logits`
   */
  async classify(text: string, count = Infinity): Promise<Classification> {
    const encoder = await this.#classify();
    const { batch, truncated } = await encodeText(this.#opened.text, text, this.contextSize);
    const [probabilities] = await encoder.classify(batch);
    return { classes: topClasses(probabilities, this.#opened.labels, count), truncated };
  }

  /**
   * Embeds a text: the mean over its tokens' states, or the model's own sentence embedding.
   *
   * @throws {BadInputError} if the model has neither
   */
  async embed(text: string): Promise<Embedding> {
    const encoder = await this.#embed();
    const { batch, truncated } = await encodeText(this.#opened.text, text, this.contextSize);
    const [vector] = await encoder.embed(batch);
    return { vector, truncated };
  }

  /** Frees the model, what was compiled of it, and the runtime if the model owns it. */
  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }

  #generate(): Promise<TextGenerator> {
    return this.#generator ??= this.#openGenerator();
  }

  #classify(): Promise<EncoderModel> {
    return this.#classifier ??= this.#openEncoder(this.#opened.model);
  }

  #embed(): Promise<EncoderModel> {
    return this.#embedder ??= this.#openEncoder(withSentenceEmbedding(this.#opened.model));
  }

  async #openGenerator(): Promise<TextGenerator> {
    const { model, file, text, endIds } = this.#opened;
    const causal = this.#resources.use(await CausalModel.open(this.#runner, model, file));
    return new TextGenerator(causal, text, { endIds, contextSize: this.contextSize });
  }

  async #openEncoder(model: OpenedModel["model"]): Promise<EncoderModel> {
    const executable = this.#resources.use(
      await this.#runner.compile(model, { label: this.#opened.file }),
    );
    return this.#resources.use(new EncoderModel(this.#runner, executable, model.graph));
  }
}

/** @throws {ParameterError} for more tokens than the model takes */
function checkedContext(ctxSize: number | undefined, most: number | undefined): number | undefined {
  if (ctxSize !== undefined && most !== undefined && ctxSize > most) {
    throw new ParameterError(
      "ctxSize",
      (name) =>
        `${name("ctxSize")} must be <= ${most}, the longest text the model takes: ` +
        `current value is ${ctxSize}`,
    );
  }
  return ctxSize ?? most;
}
