/** Data sets and encoded rows in files. */
import { StorageError } from "../../errors.ts";
import { readAt } from "../../system/read_at.ts";
import { openRegularFile, regularFileSize } from "../../system/regular_file.ts";
import type { RandomAccess } from "../source.ts";
import type { ByteStore } from "../token_store.ts";

/** A file opened for reading at any offset; closed by `Symbol.dispose`. */
export class FileSource implements RandomAccess, Disposable {
  private constructor(
    readonly name: string,
    readonly sizeBytes: number,
    readonly file: Deno.FsFile,
  ) {}

  /**
   * Opens a file for reading; dispose of it.
   *
   * @throws {BadInputError} for a folder, a pipe or a device
   * @throws {StorageError} if the file cannot be opened
   */
  static open(path: string): FileSource {
    // By its path: the size of open files in the compiled program is not available.
    const size = regularFileSize(path) ?? 0;
    return new FileSource(path, size, openRegularFile(path));
  }

  // deno-lint-ignore require-await -- a short read must reject
  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    attempt(this.name, () => readFully(this.file, offset, bytes));
    return bytes;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.file.close();
  }
}

/**
 * Bytes in an unlinked temporary file, which disappears when the process ends or this object is disposed
 * of.
 */
export class TemporaryBytes implements ByteStore, Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #sizeBytes = 0;

  /** @param folder folder of the file; default: the system's temporary folder */
  constructor(folder?: string) {
    this.#path = attempt(
      folder ?? "the temporary folder",
      () => Deno.makeTempFileSync({ dir: folder, prefix: "graft-rows-" }),
    );
    this.#file = Deno.openSync(this.#path, { read: true, write: true });
    // Without a name the file disappears, however the process ends.
    Deno.removeSync(this.#path);
  }

  append(bytes: Uint8Array): void {
    attempt(this.#path, () => {
      this.#file.seekSync(this.#sizeBytes, Deno.SeekMode.Start);
      let done = 0;
      while (done < bytes.length) done += this.#file.writeSync(bytes.subarray(done));
    });
    this.#sizeBytes += bytes.length;
  }

  // deno-lint-ignore require-await -- a short read must reject
  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    attempt(this.#path, () => readFully(this.#file, offset, bytes));
    return bytes;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

function readFully(file: Deno.FsFile, offset: number, into: Uint8Array): void {
  if (readAt(file, offset, into) < into.length) {
    throw new Error("the file became shorter while it was read");
  }
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new StorageError(`Cannot read or write ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
