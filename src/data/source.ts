/** Where data sets are read from: bytes at any offset, under a name for error messages. */

/** A file, or anything of known size that can be read at any offset. */
export interface RandomAccess {
  /** Named in error messages, such as the file's path. */
  readonly name: string;
  /** Size of the file in bytes. */
  readonly sizeBytes: number;
  /**
   * Exactly the bytes [offset, offset + length); the caller may keep them.
   *
   * @throws {StorageError} where they cannot be read
   */
  read(offset: number, length: number): Promise<Uint8Array>;
}
