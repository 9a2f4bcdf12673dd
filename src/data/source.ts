/** Source of a data set: bytes at any offset, with a name for error messages. */

/** A file, or anything of known size that can be read at any offset. */
export interface RandomAccess {
  /** Name for error messages, such as the file's path. */
  readonly name: string;
  /** Size of the file in bytes. */
  readonly sizeBytes: number;
  /**
   * Exactly the bytes [offset, offset + length); the caller may keep them.
   *
   * @throws {StorageError} if they cannot be read
   */
  read(offset: number, length: number): Promise<Uint8Array>;
}
