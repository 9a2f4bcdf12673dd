/** Arrays of at least this size are replaced by smaller ones if less than half is requested. */
const LARGE_BYTES = 2 ** 20;

/**
 * Reusable arrays. Unreferenced typed arrays wait for the garbage collector, which lets tens of megabytes
 * accumulate: a matrix rewritten slab by slab would take as much memory as the whole matrix.
 */
export class Scratch {
  readonly #buffers = new Map<string, ArrayBuffer>();

  /** @param slabBytes bytes of float32 that are processed at once, which decides most arrays' sizes */
  constructor(readonly slabBytes: number = 1 << 20) {}

  /**
   * An array of `length` with arbitrary contents; it invalidates the earlier array of that name.
   *
   * @param name distinguishes arrays that are needed at the same time
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

  /** Like {@linkcode uint8}. */
  int16(name: string, length: number): Int16Array<ArrayBuffer> {
    return new Int16Array(this.#buffer(name, 2 * length), 0, length);
  }

  /** Like {@linkcode uint8}. */
  float32(name: string, length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#buffer(name, 4 * length), 0, length);
  }

  /** Like {@linkcode uint8}. */
  float64(name: string, length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#buffer(name, 8 * length), 0, length);
  }

  #buffer(name: string, sizeBytes: number): ArrayBuffer {
    let buffer = this.#buffers.get(name);
    const has = buffer?.byteLength ?? 0;
    if (buffer === undefined || has < sizeBytes || (has > LARGE_BYTES && 2 * sizeBytes < has)) {
      // A transferred array is freed at once, not when garbage is collected.
      buffer?.transfer(0);
      this.#buffers.set(name, buffer = new ArrayBuffer(sizeBytes));
    }
    return buffer;
  }
}
