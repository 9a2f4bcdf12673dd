/** Generates text from text: a causal model with its tokenizer, chat template and context length. */
import { type Message, StreamDecoder, type TextProcessor } from "../data/mod.ts";
import { BadInputError, UsageError } from "../errors.ts";
import { generate, type Generated, type GenerateOptions, type TokenReader } from "./generate.ts";

/** Options of a call; all others are fixed by the model. */
export interface TextOptions
  extends Omit<GenerateOptions, "maxTokens" | "endIds" | "vocabSize" | "seed"> {
  /** Most tokens to generate; default: as many as the context holds. */
  readonly maxTokens?: number;
  /** Seed of the draws; default 0. */
  readonly seed?: number;
}

/** A generated text and the size of its prompt. */
export interface GeneratedText extends Generated {
  /** Tokens of the prompt. */
  readonly promptTokens: number;
}

/** Gets pieces of a text as they are generated. */
export type OnText = (piece: string) => void | Promise<void>;

/** Answers prompts and chats with a causal model. */
export class TextGenerator {
  readonly #model: TokenReader;
  readonly #text: TextProcessor;
  readonly #endIds: ReadonlySet<number>;
  /** Tokens of prompt and answer together. */
  readonly contextSize: number;

  /**
   * @param model the caller owns it and the tokenizer
   * @param limits end tokens and the context's size, unlimited if the model declares none
   */
  constructor(
    model: TokenReader,
    text: TextProcessor,
    limits: { readonly endIds: ReadonlySet<number>; readonly contextSize?: number },
  ) {
    this.#model = model;
    this.#text = text;
    this.#endIds = limits.endIds;
    this.contextSize = limits.contextSize ?? Infinity;
  }

  /**
   * Continues a text without a template.
   *
   * @throws {UsageError} for an empty prompt, or one that leaves no room in the context
   */
  async complete(
    prompt: string,
    options: TextOptions = {},
    onText?: OnText,
  ): Promise<GeneratedText> {
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

  async #generate(
    ids: readonly number[],
    options: TextOptions,
    onText?: OnText,
  ): Promise<GeneratedText> {
    if (ids.length === 0) throw new UsageError("The prompt is empty: it has no tokens");
    const room = this.contextSize - ids.length;
    if (room < 1) {
      throw new UsageError(
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
    const generated = await generate(this.#model, ids, decoder, {
      ...options,
      maxTokens: Math.min(options.maxTokens ?? room, room),
      endIds: this.#endIds,
      vocabSize: this.#text.info.vocabSize,
    }, onText);
    return { ...generated, promptTokens: ids.length };
  }
}
