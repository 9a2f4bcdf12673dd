/** Digests that identify a hub's files. */
import { createHash, type Hash } from "node:crypto";
import { StorageError } from "../errors.ts";
import { openRegularFile } from "../system/regular_file.ts";

/**
 * A file's digest as the hub lists it: SHA-256 for large files (Git LFS), Git's SHA-1 of a blob for the
 * others. Either is also the file's name among a repository's `blobs`.
 */
export interface FileDigest {
  /** SHA-256 of the content, or Git's SHA-1 of the blob. */
  readonly kind: "sha256" | "git";
  /** Hexadecimal, lower case. */
  readonly hex: string;
}

/** Computes a digest from a file's bytes in order. */
export class Digester {
  readonly #hash: Hash;

  constructor(kind: FileDigest["kind"], sizeBytes: number) {
    this.#hash = createHash(kind === "git" ? "sha1" : "sha256");
    // Source: Git Internals, "Object Storage".
    if (kind === "git") this.#hash.update(`blob ${sizeBytes}\0`);
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  hex(): string {
    return this.#hash.digest("hex");
  }
}

/** A digest as messages name it. */
export const digestName = ({ kind }: FileDigest): string =>
  kind === "git" ? "Git's SHA-1" : "SHA-256";

const READ_BYTES = 1 << 20;

/**
 * Digest of a file.
 *
 * @throws {BadInputError} if it is not a regular file
 * @throws {StorageError} if it cannot be read
 */
export function fileDigest(path: string, kind: FileDigest["kind"]): string {
  using file = openRegularFile(path);
  try {
    const digester = new Digester(kind, file.statSync().size);
    const buffer = new Uint8Array(READ_BYTES);
    for (let n; (n = file.readSync(buffer)) !== null;) digester.update(buffer.subarray(0, n));
    return digester.hex();
  } catch (error) {
    throw new StorageError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * SHA-256 of a file, however large: a signal ends it.
 *
 * @throws {BadInputError} if it is not a regular file
 * @throws {StorageError} if it cannot be read
 * @throws the signal's reason
 */
export async function readDigest(path: string, signal?: AbortSignal): Promise<string> {
  using file = openRegularFile(path);
  const digester = new Digester("sha256", 0);
  const buffer = new Uint8Array(READ_BYTES);
  while (true) {
    signal?.throwIfAborted();
    const n = await file.read(buffer).catch((error: Error) => {
      throw new StorageError(`Cannot read ${path}: ${error.message}`, { cause: error });
    });
    if (n === null) return digester.hex();
    digester.update(buffer.subarray(0, n));
  }
}
