/** What an array must have to be exchanged for a smaller one where less than half of it is asked for. */
const LARGE_BYTES = 2 ** 20;

/**
 * Arrays that are used again. Typed arrays that are dropped wait for the garbage collector, which
 * lets tens of megabytes of them pile up before it looks: a matrix rewritten slab by slab would take
 * as much memory as one held whole.
 */
export class Scratch {
  readonly #buffers = new Map<string, ArrayBuffer>();

  /** @param slabBytes float32 of a matrix that are worked on at once, which decides most arrays' sizes */
  constructor(readonly slabBytes: number = 1 << 20) {}

  /**
   * An array of `length` with any contents; whoever had the array of that name has lost it.
   *
   * @param name tells arrays apart that are needed at once
   */
  uint8(name: string, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer(name, length), 0, length);
  }

  /** {@linkcode uint8} with the same bytes. */
  copy(name: string, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const copied = this.uint8(name, bytes.length);
    copied.set(bytes);
    return copied;
  }

  /** As {@linkcode uint8}. */
  int16(name: string, length: number): Int16Array<ArrayBuffer> {
    return new Int16Array(this.#buffer(name, 2 * length), 0, length);
  }

  /** As {@linkcode uint8}. */
  float32(name: string, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#buffer(name, 4 * length), 0, length);
  }

  /** As {@linkcode uint8}. */
  float64(name: string, length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#buffer(name, 8 * length), 0, length);
  }

  #buffer(name: string, sizeBytes: number): ArrayBuffer {
    let buffer = this.#buffers.get(name);
    const has = buffer?.byteLength ?? 0;
    if (buffer === undefined || has < sizeBytes || (has > LARGE_BYTES && 2 * sizeBytes < has)) {
      // What is moved out of is free at once, and not when garbage is collected.
      buffer?.transfer(0);
      this.#buffers.set(name, buffer = new ArrayBuffer(sizeBytes));
    }
    return buffer;
  }
}
