/** A model ready to answer with generated text, classes or vectors, and everything that this keeps open. */
import { type Given, wholeConfig } from "../config/given.ts";
import type { ParametersOf } from "../config/parameter.ts";
import { GuardedGrammars, type TokenGrammar } from "../data/guarded_grammars.ts";
import type { Message as ChatMessage } from "../data/mod.ts";
import { BadInputError, ParameterError } from "../errors.ts";
import { checkBase } from "../lora/apply.ts";
import { DEFAULT_LORA } from "../lora/config.ts";
import { modelDigest } from "../lora/digest.ts";
import { findModules, type LinearModule } from "../lora/modules.ts";
import {
  injectSwitched,
  mixedAdapter,
  noAdapter,
  NotSwitchableError,
  switchedAdapter,
  type SwitchedModel,
  type SwitchedProduct,
  switchedRank,
  switchedTensors,
  versionOf,
  type WeightedAdapter,
} from "../lora/switched.ts";
import { resolveTargets } from "../lora/targets.ts";
import { loadAdapter } from "../model/adapter_dir.ts";
import type { ModelKind } from "../model/model_kind.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import { isOnnxAdapter, loadOnnxAdapter } from "../model/onnx_adapter_file.ts";
import type { OpenedModel } from "../model/open_model.ts";
import { readTextFiles } from "../model/tokenizer_files.ts";
import { openRunner, type RuntimeOptions } from "../runtime/open_runner.ts";
import type { Runner } from "../runtime/runner.ts";
import type { RuntimeNote } from "../runtime/runtime_note.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import { withSentenceEmbedding } from "../serve/embedding_graph.ts";
import { encodeTexts } from "../serve/encode_text.ts";
import { EncoderModel } from "../serve/encoder_model.ts";
import { Gathered } from "../serve/gathered.ts";
import { openSessions } from "../serve/open_sessions.ts";
import { takesTurns, type TurnOptions } from "../serve/takes_turns.ts";
import type { OnText } from "../serve/generate.ts";
import { type GeneratedText, TextGenerator, type TextOptions } from "../serve/text_generator.ts";
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
  /**
   * Texts that are generated at the same time, in shared runs, if the model allows it; more of them
   * wait. Default 1.
   */
  readonly parallel: number;
  /**
   * Modules whose adapters can be switched between requests ({@linkcode InferenceModel.loadAdapter}), as
   * `targetModules` of training names them; default none. Each costs three small operators a token.
   */
  readonly loraTargetModules: readonly string[];
}

/** The parameters of an {@linkcode InferenceConfig}. */
export const INFERENCE_PARAMETERS = {
  ...RUNTIME_PARAMETERS,
  model: { kind: "text", required: true },
  adapterPath: { kind: "text" },
  ctxSize: { kind: "integer", min: 1 },
  parallel: { kind: "integer", min: 1, max: 64, default: 1 },
  loraTargetModules: { kind: "list", default: [] },
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

/** How much of a text an encoder read. */
export interface ReadText {
  /** Number of its tokens that were read, special ones included. */
  readonly tokens: number;
  /** Whether the end of the text was left out, since the model takes no more tokens. */
  readonly truncated: boolean;
}

/** A text's classes, likeliest first. */
export interface Classification extends ReadText {
  /** Each class with its probability, 0 to 1. */
  readonly classes: readonly ScoredClass[];
}

/** A text's vector. */
export interface Embedding extends ReadText {
  /** Of length 1. */
  readonly vector: Float32Array;
}

/** Results of an encoder for a text, as it gives them. */
interface Encoded extends ReadText {
  readonly values: Float32Array;
}

type EncoderMethod = "classify" | "embed";

/** Most texts that an encoder reads at once. */
const MOST_TEXTS = 32;

export { isOnnxAdapter };

/** An adapter that requests are to be answered with. */
export interface RequestAdapter {
  /** Its largest rank. */
  readonly rank: number;
  /** What {@linkcode AnswerOptions.adapter} takes; absent if the adapter must be merged. */
  readonly matrices?: AdapterMatrices;
  /** Why there are none; a sentence. */
  readonly unboundBecause?: string;
  /** Whether {@linkcode merge} takes it. */
  readonly isMergeable: boolean;
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
  readonly #config: InferenceConfig;
  /** Products whose adapters are inputs, if there are any. */
  #products: readonly SwitchedProduct[] | undefined;
  #linears: readonly LinearModule[] | undefined;
  #grammars: GuardedGrammars | undefined;
  #generator: Promise<TextGenerator> | undefined;
  readonly #encoders = new Map<EncoderMethod, Promise<Gathered<string, Encoded>>>();
  /** Tokens of prompt and answer together, or of a text; absent if the model's files state none. */
  readonly contextSize?: number;

  private constructor(
    resources: DisposableStack,
    opened: OpenedModel,
    runner: Runner,
    config: InferenceConfig,
    contextSize: number | undefined,
  ) {
    this.#resources = resources;
    this.#opened = opened;
    this.#runner = runner;
    this.#config = config;
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
    return new InferenceModel(resources.move(), opened, runner, config, contextSize);
  }

  /** What the model gives: `causal` generates text, `classifier` classes, `encoder` vectors. */
  get kind(): ModelKind {
    return this.#opened.kind;
  }

  /** Digest of the graph and its weights, which adapters of it state. */
  get digest(): string {
    return modelDigest(this.#opened.model);
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
    else await this.#encoder(method);
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
   * Continues a text, or token ids, as they are.
   *
   * @param onText called with each piece as it is generated
   * @throws {UsageError} for a prompt that is too long or has no tokens, and for sampling options out of
   * range
   */
  async complete(
    prompt: string | readonly number[],
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
   * A grammar for one generated text: JSON that a schema describes, without line ends. Dispose of it when
   * the text is complete.
   *
   * @param schema JSON
   * @throws {BadInputError} for a schema that is none, has what is not supported, or takes too long
   */
  async openGrammar(schema: string): Promise<TokenGrammar> {
    const { folder, endIds } = this.#opened;
    this.#grammars ??= this.#resources.use(new GuardedGrammars(readTextFiles(folder), endIds));
    return await this.#grammars.open(schema);
  }

  /**
   * Reads an adapter for requests, beside others; the base's weights stay as they are.
   *
   * @param path folder or name of an adapter, or an `.onnx_adapter` file that graft has exported
   * @throws {BadInputError} for an adapter that is unsound or of another base
   */
  async loadAdapter(path: string): Promise<RequestAdapter> {
    if (isOnnxAdapter(path)) return await this.#loadExported(path);
    const { adapter } = loadAdapter(path);
    checkBase(adapter, this.#opened.model, path);
    const ranks = Array.from(adapter.lora.values(), ({ a }) => a.dims[0]);
    const rank = Math.max(0, ...ranks);
    if (adapter.promptEmbeddings !== undefined) {
      const unboundBecause =
        `${path} has virtual tokens, which stand before every text: only a model ` +
        "that is opened with the adapter can answer with it";
      return { rank, isMergeable: false, unboundBecause };
    }
    const switchable = await this.#switchable(
      path,
      (products) => switchedAdapter(this.#modules(), products, adapter, path),
    );
    return { rank, isMergeable: true, ...switchable };
  }

  async #loadExported(path: string): Promise<RequestAdapter> {
    const { modelVersion, tensors } = loadOnnxAdapter(path);
    if (modelVersion !== versionOf(this.digest)) {
      throw new BadInputError(`${path}: the adapter was exported for another base`);
    }
    const switchable = await this.#switchable(
      path,
      (products) => switchedTensors(products, tensors, path),
    );
    const rank = switchedRank(this.#products ?? [], tensors);
    return { rank, isMergeable: false, ...switchable };
  }

  /** What requests switch an adapter by, or why they cannot. */
  async #switchable(
    path: string,
    matricesFor: (products: readonly SwitchedProduct[]) => AdapterMatrices,
  ): Promise<Pick<RequestAdapter, "matrices" | "unboundBecause">> {
    if (this.kind === "causal") await this.#generate();
    if (this.#products === undefined) {
      return { unboundBecause: `${this.#opened.file} does not take ${path} as inputs` };
    }
    try {
      return { matrices: matricesFor(this.#products) };
    } catch (error) {
      if (error instanceof NotSwitchableError) return { unboundBecause: error.message };
      throw error;
    }
  }

  /**
   * The sum of loaded adapters, each times its scale.
   *
   * @param parts matrices of {@linkcode InferenceModel.loadAdapter}, at least one
   */
  mixAdapters(parts: readonly WeightedAdapter[]): AdapterMatrices {
    return mixedAdapter(this.#products ?? [], parts);
  }

  /** The text of each token by itself, special tokens included. */
  async tokenTexts(ids: readonly number[]): Promise<string[]> {
    return await this.#opened.text.decode(ids.map((id) => [id]), { skipSpecialTokens: false });
  }

  /** Texts that are generated at the same time. */
  async parallel(): Promise<number> {
    return (await this.#generate()).parallel;
  }

  /**
   * Classifies a text. Texts of calls at the same time are read together.
   *
   * @param count number of classes to return, at least 1; default all
   * @param signal if aborted before the text is read, the call rejects with its reason
   * @throws {BadInputError} if the model has no output `logits`
   */
  async classify(text: string, count = Infinity, signal?: AbortSignal): Promise<Classification> {
    const { values, ...read } = await (await this.#encoder("classify")).call(text, signal);
    return { classes: topClasses(values, this.#opened.labels, count), ...read };
  }

  /**
   * Embeds a text: the mean over its tokens' states, or the model's own sentence embedding. Texts of
   * calls at the same time are read together.
   *
   * @param signal if aborted before the text is read, the call rejects with its reason
   * @throws {BadInputError} if the model has neither
   */
  async embed(text: string, signal?: AbortSignal): Promise<Embedding> {
    const { values, ...read } = await (await this.#encoder("embed")).call(text, signal);
    return { vector: values, ...read };
  }

  /** Frees the model, what was compiled of it, and the runtime if the model owns it. */
  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }

  #generate(): Promise<TextGenerator> {
    return this.#generator ??= this.#openGenerator();
  }

  #encoder(method: EncoderMethod): Promise<Gathered<string, Encoded>> {
    const known = this.#encoders.get(method);
    if (known !== undefined) return known;
    const opening = this.#openEncoder(method);
    this.#encoders.set(method, opening);
    return opening;
  }

  async #openGenerator(): Promise<TextGenerator> {
    const { model, file, text, endIds } = this.#opened;
    const { parallel } = this.#config;
    const products = this.#switchedModel();
    const { sessions, takesAdapters } = this.#resources.use(
      await openSessions(this.#runner, model, {
        label: file,
        parallel,
        switched: products &&
          { model: products.model, inputs: { none: noAdapter(products.products) } },
      }),
    );
    if (takesAdapters === true) this.#products = products?.products;
    return new TextGenerator(sessions, text, { endIds, contextSize: this.contextSize });
  }

  /** The base's linear layers, found once. */
  #modules(): readonly LinearModule[] {
    return this.#linears ??= findModules(this.#opened.model);
  }

  /** The model with adapters as inputs, if they are to be switched. */
  #switchedModel(): SwitchedModel | undefined {
    const { loraTargetModules: targetModules } = this.#config;
    if (targetModules.length === 0) return undefined;
    const { model } = this.#opened;
    const sites = resolveTargets(this.#modules(), { ...DEFAULT_LORA, targetModules });
    return injectSwitched(model, sites.map(({ module }) => module));
  }

  async #openEncoder(method: EncoderMethod): Promise<Gathered<string, Encoded>> {
    const { file, text } = this.#opened;
    const model = method === "embed"
      ? withSentenceEmbedding(this.#opened.model)
      : this.#opened.model;
    const executable = this.#resources.use(await this.#runner.compile(model, { label: file }));
    const encoder = this.#resources.use(new EncoderModel(this.#runner, executable, model.graph));
    return new Gathered(async (texts: readonly string[]) => {
      const { batch, lengths, truncated } = await encodeTexts(text, texts, this.contextSize);
      const results = await encoder[method](batch);
      return results.map((values, i) => ({
        values,
        tokens: lengths[i],
        truncated: truncated[i],
      }));
    }, MOST_TEXTS);
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
