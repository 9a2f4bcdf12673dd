/** Reading the small files that lie beside a model, and those that a command line names. */
import { BadInputError, StorageError } from "../errors.ts";

/** Larger files are none of those: the largest tokenizers in use have 35 MB. */
const MAX_BYTES = 256 << 20;

/**
 * A file's bytes. It is looked at before it is opened: a pipe would never end, a device never fill.
 *
 * @returns `undefined` where there is no such file
 * @throws {BadInputError} for what is no regular file, or too large
 * @throws {StorageError} where it cannot be read
 */
export function readSmallFile(path: string): Uint8Array | undefined {
  try {
    const { size, isFile } = Deno.statSync(path);
    if (!isFile) throw new BadInputError(`Cannot read ${path}: it is no regular file`);
    if (size > MAX_BYTES) {
      throw new BadInputError(
        `Cannot read ${path}: it may have at most ${MAX_BYTES} bytes: current value is ${size}`,
      );
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof BadInputError) throw error;
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** The same as text; bytes that are no UTF-8 become replacement characters. */
export function readSmallText(path: string): string | undefined {
  const bytes = readSmallFile(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}
