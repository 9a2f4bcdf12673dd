/**
 * Files as memory: their pages are read when they are touched and belong to the operating system's
 * cache, so that weights take no memory of their own.
 */
import { forgetPages, type Mapping, mapReadOnly, unmap } from "../../ffi/libc.ts";
import { BadInputError, StorageError } from "../errors.ts";
import { findAppended } from "./embedded.ts";

/** A mapped file. */
export interface MappedFile extends Disposable {
  readonly path: string;
  /**
   * The contents: read-only, writing ends the process. Whoever truncates the file meanwhile ends
   * the process as well. Empty after disposal; tensors that wrap the bytes must be disposed of first.
   */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Which file lies behind a mapped buffer, and where in it the buffer begins. */
const places = new WeakMap<ArrayBufferLike, { readonly path: string; readonly offset: number }>();

/**
 * Where in which mapped file `bytes` lie; `undefined` for ordinary memory. The path has no symbolic
 * links.
 */
export function locateMapped(bytes: Uint8Array): { path: string; offset: number } | undefined {
  const place = places.get(bytes.buffer);
  return place === undefined
    ? undefined
    : { path: place.path, offset: place.offset + bytes.byteOffset };
}

/** Takes a mapped file's bytes out of memory until they are read again; other memory stays as it is. */
export function forgetMapped(bytes: Uint8Array<ArrayBuffer>): void {
  if (places.has(bytes.buffer)) forgetPages(bytes);
}

/**
 * Maps a file read-only, or the range of a compiled binary that is one. An empty file is an empty
 * array.
 *
 * @throws {BadInputError} no such file, or a directory or device
 * @throws {StorageError} the system refuses to open or map it
 */
export function openMapped(path: string): MappedFile {
  const { realPath, offset, sizeBytes } = inspect(path);
  if (sizeBytes === 0) return { path, bytes: new Uint8Array(0), [Symbol.dispose]: () => {} };
  let mapping: Mapping;
  try {
    mapping = mapReadOnly(realPath, sizeBytes, offset);
  } catch (error) {
    throw new StorageError(
      `Cannot map "${path}" (${sizeBytes} bytes) into memory: ${(error as Error).message}`,
      { cause: error },
    );
  }
  const buffer = Deno.UnsafePointerView.getArrayBuffer(mapping.address, sizeBytes) as ArrayBuffer;
  places.set(buffer, { path: realPath, offset });
  return {
    path,
    bytes: new Uint8Array(buffer),
    [Symbol.dispose]: () => {
      if (buffer.detached) return;
      // Detached first: a view that somebody kept is then empty instead of a crash.
      buffer.transfer();
      unmap(mapping);
    },
  };
}

function inspect(path: string): { realPath: string; offset: number; sizeBytes: number } {
  try {
    const carried = findAppended(path);
    if (carried !== undefined) return { realPath: carried.file, ...carried };
    const realPath = Deno.realPathSync(path);
    const { isFile, size } = Deno.statSync(realPath);
    if (!isFile) throw new BadInputError(`Cannot read "${path}": it is not a regular file`);
    return { realPath, offset: 0, sizeBytes: size };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new BadInputError(`Cannot read "${path}": no such file`, { cause: error });
    }
    if (error instanceof BadInputError || !(error instanceof Error)) throw error;
    throw new StorageError(`Cannot read "${path}": ${error.message}`, { cause: error });
  }
}
