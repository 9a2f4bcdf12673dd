/**
 * The folder in which the process that has the network leaves what the one without installs.
 *
 *     order.dsse.json    the newest order, with its signature
 *     seen               the greatest order that was accepted
 *     pieces/SHA256      pieces of its release, whole and verified
 *     ready              number of the order whose pieces are all there
 *     handed-over        changes when there is something to do, for graft-apply.path
 *
 * The reader trusts nothing in it: it verifies the signature and each piece again.
 */
import { join } from "@std/path";
import { BadInputError, StorageError } from "../../errors.ts";
import {
  makeDirectory,
  removeFile,
  removeLeftovers,
  replaceFile,
} from "../../system/durable_files.ts";
import { readSmallFile, readSmallText } from "../../system/small_file.ts";
import { MOST_ENVELOPE_BYTES } from "../release/envelope.ts";
import { PIECE_BYTES } from "../release/order.ts";
import { PieceCheck } from "../store/piece_check.ts";

const [ORDER, SEEN, PIECES, READY] = ["order.dsse.json", "seen", "pieces", "ready"];
const HANDED_OVER = "handed-over";

export class Inbox {
  constructor(readonly folder: string) {}

  /** Makes the folder, and removes what a killed writer left. */
  create(): void {
    makeDirectory(join(this.folder, PIECES));
    removeLeftovers(this.folder);
    removeLeftovers(join(this.folder, PIECES));
  }

  get seenPath(): string {
    return join(this.folder, SEEN);
  }

  /** Path of the order, for messages. */
  get orderPath(): string {
    return join(this.folder, ORDER);
  }

  /** The order's envelope; `undefined` if none has come. */
  order(): Uint8Array | undefined {
    return readSmallFile(this.orderPath, MOST_ENVELOPE_BYTES);
  }

  saveOrder(envelope: Uint8Array<ArrayBuffer>): void {
    replaceFile(this.orderPath, envelope);
  }

  /** Whether a piece is there with its size; it was verified before it got its name. */
  hasPiece(digest: string, sizeBytes: number): boolean {
    try {
      return Deno.statSync(this.#piece(digest)).size === sizeBytes;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw new StorageError(`Cannot look at ${this.#piece(digest)}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  savePiece(digest: string, bytes: Uint8Array<ArrayBuffer>): void {
    replaceFile(this.#piece(digest), bytes);
  }

  /** @throws {BadInputError} if the piece is not there, or damaged */
  piece(digest: string, sizeBytes: number): Uint8Array<ArrayBuffer> {
    const bytes = readSmallFile(this.#piece(digest), PIECE_BYTES);
    if (bytes === undefined) throw new BadInputError(`${this.#piece(digest)} is missing`);
    const check = new PieceCheck(digest, sizeBytes, this.folder);
    check.add(bytes);
    return check.end();
  }

  /** Removes all pieces but those named. */
  keepPieces(digests: ReadonlySet<string> | ReadonlyMap<string, unknown>): void {
    for (const { name } of Deno.readDirSync(join(this.folder, PIECES))) {
      if (!digests.has(name)) removeFile(this.#piece(name));
    }
  }

  /** Number of the order whose pieces are there. */
  ready(): number | undefined {
    const text = readSmallText(join(this.folder, READY));
    return text === undefined ? undefined : Number(text);
  }

  markReady(sequence: number): void {
    replaceFile(join(this.folder, READY), new TextEncoder().encode(`${sequence}`));
  }

  /** Wakes the reader. */
  handOver(): void {
    replaceFile(join(this.folder, HANDED_OVER), new TextEncoder().encode(new Date().toISOString()));
  }

  #piece(digest: string): string {
    return join(this.folder, PIECES, digest);
  }
}
