/** Generates text from text: a causal model with its tokenizer, chat template and context length. */
import { type Message, StreamDecoder, type TextProcessor } from "../data/mod.ts";
import { BadInputError, UsageError } from "../errors.ts";
import type { AdapterMatrices } from "./adapter_inputs.ts";
import { generate, type Generated, type GenerateOptions, type OnText } from "./generate.ts";
import type { TokenSessions } from "./token_sessions.ts";

/** Options of a call; all others are fixed by the model. */
export interface TextOptions
  extends Omit<GenerateOptions, "maxTokens" | "endIds" | "vocabSize" | "seed"> {
  /** Most tokens to generate; default: as many as the context holds. */
  readonly maxTokens?: number;
  /** Seed of the draws; default 0. */
  readonly seed?: number;
  /** What the model's products are changed by, where it takes adapters as inputs. */
  readonly adapter?: AdapterMatrices;
}

/** A generated text and the size of its prompt. */
export interface GeneratedText extends Generated {
  /** Tokens of the prompt. */
  readonly promptTokens: number;
}

/** A prompt leaves no room for an answer in the context. */
export class ContextFullError extends UsageError {
  override name = "ContextFullError";
}

/** Answers prompts and chats with a causal model. */
export class TextGenerator {
  readonly #sessions: TokenSessions;
  readonly #text: TextProcessor;
  readonly #endIds: ReadonlySet<number>;
  /** Tokens of prompt and answer together. */
  readonly contextSize: number;

  /**
   * @param sessions the caller owns their model and the tokenizer
   * @param limits end tokens and the context's size, unlimited if the model declares none
   */
  constructor(
    sessions: TokenSessions,
    text: TextProcessor,
    limits: { readonly endIds: ReadonlySet<number>; readonly contextSize?: number },
  ) {
    this.#sessions = sessions;
    this.#text = text;
    this.#endIds = limits.endIds;
    this.contextSize = limits.contextSize ?? Infinity;
  }

  /** Texts that are generated at the same time; more of them wait. */
  get parallel(): number {
    return this.#sessions.parallel;
  }

  /**
   * Continues a text, or token ids, without a template.
   *
   * @throws {UsageError} for an empty prompt, or one that leaves no room in the context
   */
  async complete(
    prompt: string | readonly number[],
    options: TextOptions = {},
    onText?: OnText,
  ): Promise<GeneratedText> {
    if (typeof prompt !== "string") {
      const ids = [...this.#text.virtualIds ?? [], ...this.#checkedIds(prompt)];
      return await this.#generate(ids, options, onText);
    }
    const [ids] = await this.#text.encode([prompt]);
    return await this.#generate(ids, options, onText);
  }

  /**
   * Answers the last message of a chat.
   *
   * @throws {BadInputError} if the template refuses the messages
   * @throws {UsageError} if there is no template, or no room left in the context
   */
  async chat(
    messages: readonly Message[],
    options: TextOptions = {},
    onText?: OnText,
  ): Promise<GeneratedText> {
    const rendered = await this.#text.render(messages, { addGenerationPrompt: true });
    // The template writes special tokens itself.
    const [ids] = await this.#text.encode([rendered], { addSpecialTokens: false });
    return await this.#generate(ids, options, onText);
  }

  #checkedIds(ids: readonly number[]): readonly number[] {
    const { vocabSize } = this.#text.info;
    const strange = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (strange === undefined) return ids;
    throw new UsageError(`A token id must be below ${vocabSize}: current value is ${strange}`);
  }

  async #generate(
    ids: readonly number[],
    options: TextOptions,
    onText?: OnText,
  ): Promise<GeneratedText> {
    if (ids.length === 0) throw new UsageError("The prompt is empty: it has no tokens");
    const room = this.contextSize - ids.length;
    if (room < 1) {
      throw new ContextFullError(
        `The prompt leaves no room for an answer: it must have fewer tokens than the context's ` +
          `${this.contextSize}: current value is ${ids.length}`,
      );
    }
    if (options.maxTokens === undefined && room === Infinity) {
      throw new BadInputError(
        (name) =>
          "The model's files state no context length: say how many tokens to generate at most " +
          `(${name("maxTokens")})`,
      );
    }
    const decoder = new StreamDecoder((sequences) => this.#text.decode(sequences));
    const { signal, adapter, onStage } = options;
    using session = this.#sessions.open(signal, adapter, () => onStage?.("read"));
    const generated = await generate(session, ids, decoder, {
      ...options,
      maxTokens: Math.min(options.maxTokens ?? room, room),
      endIds: this.#endIds,
      vocabSize: this.#text.info.vocabSize,
    }, onText);
    return { ...generated, promptTokens: ids.length };
  }
}
