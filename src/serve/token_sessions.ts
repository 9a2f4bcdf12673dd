/** Requests that use a language model at the same time, each reading a text of its own. */

import type { AdapterMatrices } from "./adapter_inputs.ts";

/** Reads one text's tokens. */
export interface TokenReader {
  /**
   * Reads a whole text, continuing from the tokens already read if the text begins with them.
   *
   * @returns logits after the last token, [vocabulary]; the next call overwrites them
   */
  continueTo(ids: readonly number[]): Promise<Float32Array>;
  /**
   * Reads more tokens.
   *
   * @returns as {@linkcode TokenReader.continueTo}
   */
  advance(ids: readonly number[]): Promise<Float32Array>;
}

/** A request's use of the model; others may wait until it is disposed of. */
export interface TokenSession extends TokenReader, Disposable {}

/** Opens sessions over one model. */
export interface TokenSessions {
  /** Sessions that read at the same time; more of them wait. */
  readonly parallel: number;
  /**
   * A session for a request.
   *
   * @param signal what waits for a turn or a read rejects with its reason when it is aborted
   * @param adapter what the model's products are changed by, where sessions take one
   * @param onTurn called once, when the session no longer waits for others
   */
  open(signal?: AbortSignal, adapter?: AdapterMatrices, onTurn?: () => void): TokenSession;
}
