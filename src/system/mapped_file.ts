/**
 * Maps files into memory: their pages are read when they are accessed and belong to the operating
 * system's cache, so that weights take no memory of their own.
 */
import { forgetPages, type Mapping, mapReadOnly, unmap } from "../../ffi/libc.ts";
import { BadInputError, StorageError } from "../errors.ts";
import { findAppended } from "./embedded.ts";

/** A mapped file. */
export interface MappedFile extends Disposable {
  readonly path: string;
  /**
   * The contents: read-only, writing ends the process. If another process truncates the file meanwhile,
   * this process ends as well. Empty after disposal; tensors that wrap the bytes must be disposed of
   * first.
   */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The file of each mapped buffer, and the buffer's offset in it. */
const origins = new WeakMap<ArrayBufferLike, { readonly path: string; readonly offset: number }>();

/**
 * The mapped file and offset of `bytes`; `undefined` for ordinary memory. The path has no symbolic
 * links.
 */
export function locateMapped(bytes: Uint8Array): { path: string; offset: number } | undefined {
  const origin = origins.get(bytes.buffer);
  return origin === undefined
    ? undefined
    : { path: origin.path, offset: origin.offset + bytes.byteOffset };
}

/** Releases a mapped file's pages until they are read again; other memory is not changed. */
export function forgetMapped(bytes: Uint8Array): void {
  if (origins.has(bytes.buffer)) forgetPages(bytes as Uint8Array<ArrayBuffer>);
}

/**
 * Maps a file read-only, or the range of a compiled binary that contains it. An empty file is an empty
 * array.
 *
 * @throws {BadInputError} if there is no such file, or it is a directory or device
 * @throws {StorageError} if the system refuses to open or map it
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
  origins.set(buffer, { path: realPath, offset });
  return {
    path,
    bytes: new Uint8Array(buffer),
    [Symbol.dispose]: () => {
      if (buffer.detached) return;
      // Detached first: a remaining view is then empty instead of causing a crash.
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
