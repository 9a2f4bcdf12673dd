/** Checks a piece of a release against what the order says. */
import { createHash } from "node:crypto";
import { BadInputError } from "../../errors.ts";

/** Collects a piece's chunks, and stops as soon as they cannot become the piece. */
export class PieceCheck {
  readonly #hash = createHash("sha256");
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** @param place of the piece, for messages */
  constructor(readonly digest: string, readonly sizeBytes: number, readonly place: string) {
    this.#bytes = new Uint8Array(sizeBytes);
  }

  /** @throws {BadInputError} if the piece has become too long */
  add(chunk: Uint8Array): void {
    if (this.#length + chunk.length > this.sizeBytes) {
      throw this.#damaged(`it has more than the ${this.sizeBytes} bytes of the order`);
    }
    this.#bytes.set(chunk, this.#length);
    this.#length += chunk.length;
    this.#hash.update(chunk);
  }

  /**
   * The whole piece.
   *
   * @throws {BadInputError} if it is too short, or another one
   */
  end(): Uint8Array<ArrayBuffer> {
    if (this.#length < this.sizeBytes) {
      throw this.#damaged(`it ends after ${this.#length} of ${this.sizeBytes} bytes`);
    }
    const digest = this.#hash.digest("hex");
    if (digest !== this.digest) throw this.#damaged(`its SHA-256 is ${digest}`);
    return this.#bytes;
  }

  #damaged(what: string): BadInputError {
    return new BadInputError(
      `${this.place}: piece ${this.digest} of the release is damaged: ${what}; publish the release again`,
    );
  }
}
