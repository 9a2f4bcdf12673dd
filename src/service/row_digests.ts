/**
 * The rows that a model learned from, as 8 bytes of each row's SHA-256, so that a round can count the
 * missing ones without a copy of the data.
 */
import { createHash } from "node:crypto";

/** Collects digests of rows. */
export class RowDigests {
  readonly #digests: bigint[] = [];

  add(line: string): void {
    this.#digests.push(createHash("sha256").update(line).digest().readBigUInt64LE());
  }

  /** All digests in order. */
  sorted(): BigUint64Array<ArrayBuffer> {
    return BigUint64Array.from(this.#digests).sort();
  }
}

/** Number of different rows that are in `before` and not in `now`; both in order. */
export function countMissing(before: BigUint64Array, now: BigUint64Array): number {
  let [missing, at] = [0, 0];
  for (let i = 0; i < before.length; i++) {
    if (i > 0 && before[i] === before[i - 1]) continue;
    while (at < now.length && now[at] < before[i]) at++;
    if (now[at] !== before[i]) missing++;
  }
  return missing;
}

/** Decodes the list from a file's bytes; `undefined` if they are invalid. */
export function decodeDigests(bytes: Uint8Array): BigUint64Array | undefined {
  const size = BigUint64Array.BYTES_PER_ELEMENT;
  return bytes.length % size === 0 ? new BigUint64Array(bytes.slice().buffer) : undefined;
}
