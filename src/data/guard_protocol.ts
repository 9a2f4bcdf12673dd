/** The messages between `guarded.ts` and the text process (`guard_process.ts`). */
import type { TextProcessor } from "./text.ts";

/** The first argument of the compiled program that makes it a text process. */
export const TEXT_PROCESS = "text-process";

/** The first call: its argument is the model's text files. */
export const SETUP = "setup";

export type Method = "encodeRows" | "encode" | "decode" | "render";

export interface Call {
  readonly method: typeof SETUP | Method;
  readonly args: readonly unknown[];
}

/** The answer to a call; the first one has no call and reports that the process's code is loaded. */
export interface Reply {
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
}

/** Reply to {@linkcode SETUP}. */
export type Setup = Pick<TextProcessor, "info" | "hasTemplate">;
