/** The messages between `guarded.ts` and the text process (`guard_process.ts`). */
import type { TextProcessor } from "./text.ts";

/** The first argument of the compiled program that makes it a text process. */
export const TEXT_PROCESS = "text-process";

/** The first call, which decides what the process is for: its first argument is the model's text files. */
export const SETUP = "setup";
/** Another first call, of a process for grammars: its second argument are the ids that end a text. */
export const GRAMMAR_SETUP = "setup grammars";

export type TextMethod = "encodeRows" | "encode" | "decode" | "render";
export type GrammarMethod = "open" | "next" | "close";

export interface Call {
  readonly method: typeof SETUP | typeof GRAMMAR_SETUP | TextMethod | GrammarMethod;
  readonly args: readonly unknown[];
}

/** The answer to a call; the first one has no call and reports that the process's code is loaded. */
export interface Reply {
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
}

/** Reply to {@linkcode SETUP}. */
export type Setup = Pick<TextProcessor, "info" | "hasTemplate">;
