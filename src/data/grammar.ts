/**
 * Grammars that generated text must keep to, as masks of the tokens that may come next: XGrammar compiled
 * to WebAssembly. It runs in the text process, because a schema comes from a client and can be written to
 * take for ever.
 */
import { createRequire } from "node:module";
import type * as XGrammar from "@mlc-ai/web-xgrammar";
import { BadInputError } from "../errors.ts";
import type { GrammarVocabulary } from "./grammar_vocabulary.ts";

/** What may come next. */
export interface NextTokens {
  /** A bit for each token id, the lowest first. */
  readonly mask: Int32Array;
}

/** The library, which is written for browsers and Node's older modules: it looks for these names. */
async function library(): Promise<typeof XGrammar> {
  const names = globalThis as Record<string, unknown>;
  names.require = createRequire(import.meta.url);
  names.__filename = names.__dirname = "";
  await import("@mlc-ai/web-xgrammar");
  return names.xgrammar as typeof XGrammar;
}

/** Indentation that stands for none, and no line ends. */
const ONE_LINE = -1;

/** Compiled schemas that are kept for the next request with the same one. */
const MOST_COMPILED = 8;

export class Grammars {
  readonly #library: typeof XGrammar;
  readonly #compiler: XGrammar.GrammarCompiler;
  /** By schema, the least recently used first. */
  readonly #compiled = new Map<string, XGrammar.CompiledGrammar>();
  readonly #open = new Map<number, XGrammar.GrammarMatcher>();
  #last = 0;

  private constructor(loaded: typeof XGrammar, compiler: XGrammar.GrammarCompiler) {
    this.#library = loaded;
    this.#compiler = compiler;
  }

  /** Loads the library; call the result with the vocabulary. */
  static async load(): Promise<(vocabulary: GrammarVocabulary) => Promise<Grammars>> {
    const loaded = await library();
    return async ({ tokens, kind, endIds }) => {
      const info = await loaded.TokenizerInfo.createTokenizerInfo(
        [...tokens],
        kind,
        false,
        tokens.length,
        [...endIds],
      );
      const compiler = await loaded.GrammarCompiler.createGrammarCompiler(info, false);
      return new Grammars(loaded, compiler);
    };
  }

  /**
   * Compiles a JSON schema: text is JSON of that form, with one space after commas and colons.
   *
   * @returns a number for the other calls
   * @throws {BadInputError} for a schema that is none, or has what XGrammar does not support
   */
  async open(schema: string): Promise<number> {
    const compiled = await this.#compile(schema);
    this.#open.set(++this.#last, await this.#library.GrammarMatcher.createGrammarMatcher(compiled));
    return this.#last;
  }

  async #compile(schema: string): Promise<XGrammar.CompiledGrammar> {
    let compiled = this.#compiled.get(schema);
    this.#compiled.delete(schema);
    try {
      compiled ??= await this.#compiler.compileJSONSchema(schema, false, ONE_LINE);
    } catch (error) {
      throw new BadInputError(`The JSON schema cannot be used: ${messageOf(error)}`);
    }
    this.#compiled.set(schema, compiled);
    const [[oldest, unused]] = this.#compiled;
    if (this.#compiled.size > MOST_COMPILED) {
      this.#compiled.delete(oldest);
      unused.dispose();
    }
    return compiled;
  }

  /** Accepts a token, if there is one, and says which may follow. */
  async next(grammar: number, accepted: number | undefined): Promise<NextTokens> {
    const matcher = this.#open.get(grammar);
    if (matcher === undefined) {
      throw new BadInputError("The grammar is gone, because another one exceeded its limits");
    }
    if (accepted !== undefined && !matcher.acceptToken(accepted)) {
      throw new BadInputError(`The grammar does not allow the token ${accepted}`);
    }
    return { mask: await matcher.getNextTokenBitmask() };
  }

  close(grammar: number): void {
    this.#open.get(grammar)?.dispose();
    this.#open.delete(grammar);
  }
}

/** WebAssembly throws what is no error. */
const messageOf = (error: unknown) => error instanceof Error ? error.message : String(error);
