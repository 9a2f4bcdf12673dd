/** Grammars for generated text, in a process of their own with a deadline and a memory limit. */
import { textFileBytes } from "./guarded.ts";
import { GuardedProcess } from "./guarded_process.ts";
import { GRAMMAR_SETUP, type GrammarMethod } from "./guard_protocol.ts";
import type { NextTokens } from "./grammar.ts";
import type { TextFiles } from "./text.ts";

/** A grammar that one text keeps to. */
export interface TokenGrammar extends Disposable {
  /**
   * The tokens that may come next.
   *
   * @param accepted the token that was chosen since the last call, if there was one
   * @returns a bit for each token id, the lowest first
   * @throws {BadInputError} if the process was ended because another grammar exceeded its limits
   */
  next(accepted: number | undefined): Promise<Int32Array>;
}

/** Opens grammars over a model's vocabulary. The process starts with the first one. */
export class GuardedGrammars implements Disposable {
  readonly #process: GuardedProcess;

  /** @param endIds tokens that end a text */
  constructor(files: TextFiles, endIds: Iterable<number>) {
    this.#process = new GuardedProcess({
      setup: { method: GRAMMAR_SETUP, args: [files, [...endIds]] },
      fileBytes: textFileBytes(files),
      describe: ({ limit }) => `The JSON schema ${limit}: make it simpler`,
    });
  }

  /**
   * A grammar of JSON that a schema describes.
   *
   * @param schema JSON
   * @throws {BadInputError} for a schema that is none, has what is not supported, or exceeds the limits
   */
  async open(schema: string): Promise<TokenGrammar> {
    const ask = <T>(method: GrammarMethod, args: readonly unknown[], characters = 0) =>
      this.#process.ask<T>(method, args, characters);
    const grammar = await ask<number>("open", [schema], schema.length);
    return {
      next: async (accepted) => (await ask<NextTokens>("next", [grammar, accepted])).mask,
      [Symbol.dispose]: () => void ask("close", [grammar]).catch(() => {}),
    };
  }

  /** Ends the process. */
  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }
}
