/** Decodes generated token ids to text piece by piece, without incomplete characters. */

/** Decodes several id sequences at once, with one round trip to a worker. */
export type DecodeMany = (sequences: readonly (readonly number[])[]) => Promise<string[]>;

/** Ids of context that a decoder may need before the new ones. */
const CONTEXT = 5;

/** Most ids held back: a longer run of broken characters is shown as such. */
const HELD_BACK = 16;

/**
 * Emits text as soon as it can no longer change: a token that ends inside a UTF-8 character is held back
 * until the character is complete. Spaces that depend on the token before are correct, because every
 * piece is the difference of two decodings with some context.
 */
export class StreamDecoder {
  #ids: number[] = [];
  /** Ids already shown. */
  #shown = 0;

  constructor(readonly decode: DecodeMany) {}

  /** Adds one id; returns the text that is now certain, often none. */
  push(id: number): Promise<string> {
    this.#ids.push(id);
    return this.#take(false);
  }

  /** Returns the rest, complete or not. */
  finish(): Promise<string> {
    return this.#take(true);
  }

  async #take(all: boolean): Promise<string> {
    const start = Math.max(0, this.#shown - CONTEXT);
    const [before, after] = await this.decode([
      this.#ids.slice(start, this.#shown),
      this.#ids.slice(start),
    ]);
    const incomplete = after.endsWith("\ufffd") && this.#ids.length - this.#shown < HELD_BACK;
    if (!all && (incomplete || after.length <= before.length)) return "";
    this.#shown = this.#ids.length;
    if (this.#shown > 2 * CONTEXT) {
      this.#ids = this.#ids.slice(-CONTEXT);
      this.#shown = this.#ids.length;
    }
    return after.slice(before.length);
  }
}
