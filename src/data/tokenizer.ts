/**
 * Converts text to token ids and back, using a model's own `tokenizer.json`.
 *
 * It uses @huggingface/tokenizers, and checks its input and its ids, because the library returns
 * `undefined` for tokens without an id and accepts ids that do not exist.
 */
import { createHash } from "node:crypto";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { BadInputError } from "../errors.ts";
import { type GrammarVocabulary, grammarVocabulary } from "./grammar_vocabulary.ts";
import { parseJsonFile, parseTokenizerJson } from "./tokenizer_json.ts";
import { type SpecialTokens, specialTokensOf } from "./special_tokens.ts";

/** A model's tokenizer files, as bytes. */
export interface TokenizerFiles {
  /** The model's folder, for messages. */
  readonly name: string;
  /** Contents of `tokenizer.json`. */
  readonly tokenizerJson: Uint8Array;
  /** Contents of `tokenizer_config.json`. */
  readonly tokenizerConfig?: Uint8Array;
  /** Contents of `special_tokens_map.json`. */
  readonly specialTokensMap?: Uint8Array;
}

/** Facts about a tokenizer. */
export interface TokenizerInfo {
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** Id of the token that begins a text. */
  readonly bosId?: number;
  /** Id of the token that ends a text. */
  readonly eosId?: number;
  /** Id of the token that fills up rows. */
  readonly padId?: number;
  /** Texts of special tokens by role. */
  readonly specialTokens: SpecialTokens;
  /** `sha256:…` of `tokenizer.json`, kept with an adapter. */
  readonly digest: string;
  /** The longest input that `tokenizer_config.json` names, in tokens. */
  readonly modelMaxLength?: number;
}

/** How a text becomes ids. */
export interface EncodeTextOptions {
  /** Whether to add the model's special tokens around a text, such as [CLS] … [SEP]; default true. */
  readonly addSpecialTokens?: boolean;
  /** Most ids, special tokens included; default no limit. */
  readonly maxLength?: number;
}

export class Tokenizer {
  readonly info: TokenizerInfo;
  readonly #library: Library;
  readonly #name: string;
  readonly #cleanUp: boolean;
  readonly #known: (id: number) => boolean;
  /** Special tokens around any text: [CLS] before, [SEP] after. */
  readonly #before: readonly number[];
  readonly #after: readonly number[];

  /**
   * Builds the tokenizer.
   *
   * @throws {BadInputError} for files without a tokenizer, or with an unsupported one
   */
  constructor(files: TokenizerFiles) {
    this.#name = files.name;
    const json = parseTokenizerJson(files.tokenizerJson, `${files.name}/tokenizer.json`);
    const read = (bytes: Uint8Array | undefined, file: string) =>
      bytes === undefined ? {} : parseJsonFile(bytes, `${files.name}/${file}`);
    const config = read(files.tokenizerConfig, "tokenizer_config.json");
    const map = read(files.specialTokensMap, "special_tokens_map.json");
    this.#library = this.#attempt("build", () => new Library(json, config));
    // Python's rule: off by default, and never for BPE, whose texts it would change.
    this.#cleanUp = config.clean_up_tokenization_spaces === true &&
      (json.model as { type?: unknown }).type !== "BPE";
    const vocab = this.#attempt("list the tokens of", () => this.#library.get_vocab());
    let vocabSize = 0;
    for (const id of vocab.values()) vocabSize = Math.max(vocabSize, id + 1);
    const known = new Uint8Array(vocabSize);
    for (const id of vocab.values()) known[id] = 1;
    this.#known = (id) => known[id] === 1;
    const specialTokens = specialTokensOf(config, map);
    const idOf = (text?: string) => text === undefined ? undefined : vocab.get(text);
    const { model_max_length: limit } = config;
    this.info = {
      vocabSize,
      bosId: idOf(specialTokens.bos_token),
      eosId: idOf(specialTokens.eos_token),
      padId: idOf(specialTokens.pad_token),
      specialTokens,
      digest: `sha256:${createHash("sha256").update(files.tokenizerJson).digest("hex")}`,
      // Configurations write 10³⁰ for "no limit".
      modelMaxLength: typeof limit === "number" && limit < 2 ** 31 ? limit : undefined,
    };
    [this.#before, this.#after] = this.#affixes();
  }

  /**
   * Token ids of a text.
   *
   * @throws {BadInputError} if a part of the text has no token and the vocabulary no unknown token
   */
  encode(text: string, options: EncodeTextOptions = {}): number[] {
    const { addSpecialTokens = true, maxLength = Infinity } = options;
    const { ids, tokens } = this.#attempt(
      "encode with",
      () => this.#library.encode(text, { add_special_tokens: addSpecialTokens }),
    );
    const wrong = ids.findIndex((id) => !this.#known(id));
    if (wrong < 0) {
      return [...addSpecialTokens ? this.truncate(ids, maxLength) : ids.slice(0, maxLength)];
    }
    throw new BadInputError(
      `${this.#name}: cannot encode: the vocabulary has no id for the token ` +
        `${JSON.stringify(tokens[wrong] ?? null)} and no token for unknown ones`,
    );
  }

  /**
   * Truncates a text encoded with special tokens to `maxLength` ids: the end of the text is cut, special
   * tokens stay.
   */
  truncate(ids: readonly number[], maxLength: number): readonly number[] {
    if (ids.length <= maxLength) return ids;
    const room = Math.max(0, maxLength - this.#before.length - this.#after.length);
    const plain = ids.slice(this.#before.length, this.#before.length + room);
    return [...this.#before, ...plain, ...this.#after].slice(0, maxLength);
  }

  /**
   * Text of token ids.
   *
   * @throws {BadInputError} for an id that the vocabulary does not have
   */
  decode(ids: readonly number[], { skipSpecialTokens = true } = {}): string {
    if (ids.length === 0) return "";
    const wrong = ids.find((id) => !this.#known(id));
    if (wrong !== undefined) {
      throw new BadInputError(
        `${this.#name}: cannot decode: ids must be in the vocabulary of ${this.info.vocabSize}: ` +
          `current value is ${wrong}`,
      );
    }
    return this.#attempt("decode with", () =>
      this.#library.decode([...ids], {
        skip_special_tokens: skipSpecialTokens,
        clean_up_tokenization_spaces: this.#cleanUp,
      }));
  }

  /** The vocabulary for grammars. */
  grammarVocabulary(files: TokenizerFiles, endIds: readonly number[]): GrammarVocabulary {
    const json = parseTokenizerJson(files.tokenizerJson, `${files.name}/tokenizer.json`);
    return grammarVocabulary(json, this.#library.get_vocab(), endIds);
  }

  /** Finds the special tokens around a text by encoding a text with and without them. */
  #affixes(): [number[], number[]] {
    const plain = this.encode("a", { addSpecialTokens: false });
    const full = this.encode("a");
    const extra = full.length - plain.length;
    for (let start = 0; start <= extra && plain.length > 0; start++) {
      if (plain.every((id, i) => full[start + i] === id)) {
        return [full.slice(0, start), full.slice(start + plain.length)];
      }
    }
    return [[], []];
  }

  #attempt<T>(what: string, action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (error instanceof BadInputError) throw error;
      throw new BadInputError(
        `${this.#name}: cannot ${what} tokenizer.json: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}
