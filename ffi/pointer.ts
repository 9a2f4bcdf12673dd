/** Conversions between JavaScript values and C's memory. */

/** A pointer that is not null. */
export type Handle = Deno.PointerObject;

const encoder = new TextEncoder();

/** `text` as a NUL-terminated UTF-8 string; throws a `TypeError` if it contains a NUL. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(`Cannot pass a string with a NUL to C: ${JSON.stringify(text)}`);
  }
  const bytes = new Uint8Array(encoder.encode(text).byteLength + 1);
  encoder.encodeInto(text, bytes);
  return bytes;
}

/** Reads a NUL-terminated string that C owns. */
export function readCString(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : new Deno.UnsafePointerView(pointer).getCString();
}

/** The address of a buffer as a number that fits into a pointer array. */
export function addressOf(view: ArrayBufferView<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(view)));
}

/** An array of C strings. Keep the whole object alive while C reads `pointers`. */
export interface CStrings {
  /** `const char**` */
  readonly pointers: BigUint64Array<ArrayBuffer>;
  /** Owns the characters. */
  readonly strings: readonly Uint8Array<ArrayBuffer>[];
  /** `size_t` */
  readonly count: bigint;
}

/** Makes a `const char**` of `texts`. */
export function cStrings(texts: readonly string[]): CStrings {
  const strings = texts.map(cString);
  // At least one element, because C needs an address even if the count is zero.
  const pointers = new BigUint64Array(Math.max(1, strings.length));
  strings.forEach((string, i) => pointers[i] = addressOf(string));
  return { pointers, strings, count: BigInt(texts.length) };
}

/** Reads a `char**` of `count` strings that C owns. */
export function readCStrings(array: Handle, count: number): string[] {
  const view = new Deno.UnsafePointerView(array);
  return Array.from({ length: count }, (_, i) => readCString(view.getPointer(8 * i)));
}

/** One 64-bit cell for C to write a pointer, a size or an int64 into. */
export class Out {
  readonly cell = new BigUint64Array(1) as BigUint64Array<ArrayBuffer>;

  /** The value that C wrote, as a pointer. */
  get pointer(): Deno.PointerValue {
    return Deno.UnsafePointer.create(this.cell[0]);
  }

  /** The value that C wrote, as a pointer that must not be null. */
  get handle(): Handle {
    const pointer = this.pointer;
    if (pointer === null) throw new TypeError("ONNX Runtime returned a null handle");
    return pointer;
  }

  /** The value that C wrote, as a whole number. */
  get number(): number {
    return Number(BigInt.asIntN(64, this.cell[0]));
  }

  /** The value that C wrote into the first four bytes (enums and ints). */
  get int(): number {
    return Number(BigInt.asIntN(32, this.cell[0]));
  }
}

const held = new Set<object>();

/**
 * Awaits a nonblocking call during which C reads or writes `memory`. Neither Deno nor a variable that is
 * not used again keeps the buffers of such a call alive.
 */
export async function whileHeld<T>(memory: object, call: () => Promise<T>): Promise<T> {
  held.add(memory);
  try {
    return await call();
  } finally {
    held.delete(memory);
  }
}
