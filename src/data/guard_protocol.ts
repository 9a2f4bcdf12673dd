/** What `guarded.ts` and its worker say to each other. */
import type { TextProcessor } from "./text.ts";

/** The first call: its argument is the model's text files. */
export const SETUP = "setup";

/** Id of the reply that nobody asked for: the worker's own code is loaded. Its value is the worker's thread. */
export const READY = -1;

export type Method = "encodeRows" | "encode" | "decode" | "render";

export interface Call {
  readonly id: number;
  readonly method: typeof SETUP | Method;
  readonly args: readonly unknown[];
}

export interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly name: string; readonly message: string };
}

/** Reply to {@linkcode SETUP}. */
export type Setup = Pick<TextProcessor, "info" | "hasTemplate">;
