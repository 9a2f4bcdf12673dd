/**
 * Keys and values of several texts, a row each: every cache is one buffer [rows, heads, capacity, head
 * size], of which runs read and write neighbouring rows in place.
 */
import { byteLength } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { BoundInput } from "../plan/inputs.ts";

/** Tokens that a row has room for at least; it doubles, so that shapes seldom change. */
const LEAST_CAPACITY = 256;

interface Cache {
  readonly type: BoundInput;
  memory: Uint8Array<ArrayBuffer>;
}

export class CacheRows {
  readonly #caches: ReadonlyMap<string, Cache>;
  #capacity = 0;

  /**
   * @param types of the caches of one text: [1, heads, 0, head size]
   * @param rows number of texts
   */
  constructor(types: ReadonlyMap<string, BoundInput>, readonly rows: number) {
    this.#caches = new Map(
      [...types].map(([name, type]) => [name, { type, memory: new Uint8Array(0) }]),
    );
  }

  /** Tokens that each row has room for. */
  get capacity(): number {
    return this.#capacity;
  }

  /**
   * Makes room for `total` tokens a row.
   *
   * @param filled number of tokens of each row that are kept
   * @returns whether the buffers have moved
   */
  reserve(total: number, filled: readonly number[]): boolean {
    if (total <= this.#capacity) return false;
    let capacity = LEAST_CAPACITY;
    while (capacity < total) capacity *= 2;
    for (const cache of this.#caches.values()) {
      const { heads, tokenBytes } = sizesOf(cache.type);
      const [before, after] = [this.#capacity * tokenBytes, capacity * tokenBytes];
      const memory = new Uint8Array(this.rows * heads * after);
      filled.forEach((tokens, row) => {
        for (let head = row * heads; head < (row + 1) * heads; head++) {
          const kept = cache.memory.subarray(head * before, head * before + tokens * tokenBytes);
          memory.set(kept, head * after);
        }
      });
      cache.memory = memory;
    }
    this.#capacity = capacity;
    return true;
  }

  /** Copies the first `tokens` tokens of a row to another one. */
  copy(from: number, to: number, tokens: number): void {
    for (const { type, memory } of this.#caches.values()) {
      const { heads, tokenBytes } = sizesOf(type);
      const headBytes = this.#capacity * tokenBytes;
      for (let head = 0; head < heads; head++) {
        const start = (from * heads + head) * headBytes;
        memory.copyWithin(
          (to * heads + head) * headBytes,
          start,
          start + tokens * tokenBytes,
        );
      }
    }
  }

  /** Neighbouring rows of a cache: [count, heads, capacity, head size]; valid until the buffers move. */
  slice(name: string, first: number, count: number): Tensor {
    const { type: { dtype, dims: [, heads, , size] }, memory } = this.#caches.get(name)!;
    const rowBytes = heads * this.#capacity * byteLength(dtype, size);
    return {
      dtype,
      dims: [count, heads, this.#capacity, size],
      bytes: memory.subarray(first * rowBytes, (first + count) * rowBytes),
    };
  }
}

function sizesOf({ dtype, dims: [, heads, , size] }: BoundInput) {
  return { heads, tokenBytes: byteLength(dtype, size) };
}
