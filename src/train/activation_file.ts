/**
 * Activations on disk by key: one file that grows at its end up to a limit, and an index of offsets in
 * memory. Its contents can be computed again, so no disk fault ends a run: a damaged record is forgotten, and
 * a failed write removes the file.
 *
 * | bytes | content |
 * |---|---|
 * | 8, 32, 8 | `graftact`, SHA-256 of what decides the values, limit as float64 |
 * | 16, 4, 16, n | for each record: key, n, first half of the SHA-256 of key and content, content |
 *
 * Numbers are little endian. A record that was being written when its writer was killed is cut off.
 */
import { createHash } from "node:crypto";
import { dirname } from "@std/path";
import { StorageError } from "../errors.ts";
import { tryLockPath } from "../system/claim.ts";
import { syncDirectory } from "../system/durable_files.ts";
import { readAt } from "../system/read_at.ts";

const MAGIC = new TextEncoder().encode("graftact");
const HEADER_BYTES = 48;
const KEY_BYTES = 16;
const RECORD_HEADER_BYTES = 36;

/** The name of a record: 32 hexadecimal digits. */
export type ActivationKey = string;

/** What may happen to the file; a run that uses it goes on. */
export type ActivationFileEvent =
  | { readonly kind: "full"; readonly sizeBytes: number; readonly limitBytes: number }
  | { readonly kind: "damaged" }
  /** The file is removed: other writes may need the space that it took. */
  | { readonly kind: "off"; readonly reason: string };

export interface ActivationFileOptions {
  /** What decides the values: a file with another identity is started afresh. */
  readonly identity: string;
  /** Largest size of the file; a file that is resumed keeps its own limit if that is lower. */
  readonly limitBytes: number;
  /** Whether to resume the existing file. */
  readonly resume: boolean;
  /** Called once for each kind of event. */
  readonly onEvent?: (event: ActivationFileEvent) => void;
}

export class ActivationFile implements Disposable {
  readonly #path: string;
  readonly #onEvent: (event: ActivationFileEvent) => void;
  readonly #told = new Set<ActivationFileEvent["kind"]>();
  /** Absent once the file is closed. */
  #file: Deno.FsFile | undefined;
  readonly #lock: Disposable;
  #limitBytes: number;
  #sizeBytes = 0;
  /** Offset of each record. */
  readonly #offsets = new Map<ActivationKey, number>();

  private constructor(
    path: string,
    file: Deno.FsFile,
    lock: Disposable,
    options: ActivationFileOptions,
  ) {
    this.#path = path;
    this.#file = file;
    this.#lock = lock;
    this.#limitBytes = options.limitBytes;
    this.#onEvent = options.onEvent ?? (() => {});
  }

  /**
   * Opens or makes a file, and locks it.
   *
   * @returns `undefined` if another process has it
   * @throws {StorageError} naming the path
   */
  static open(path: string, options: ActivationFileOptions): ActivationFile | undefined {
    let file: Deno.FsFile | undefined;
    using locks = new DisposableStack();
    try {
      // Not truncated before it is locked: it may belong to another run.
      file = Deno.openSync(path, { read: true, write: true, create: true });
      const lock = tryLockPath(path);
      if (lock === "taken") {
        file.close();
        return undefined;
      }
      if (lock === "impossible") throw new Error("it cannot be locked there");
      locks.use(lock);
      const opened = new ActivationFile(path, file, lock, options);
      const identity = createHash("sha256").update(options.identity).digest();
      if (!options.resume || !opened.#goOn(identity)) opened.#begin(identity);
      // Without the file's name on the disk, what is synced later would be lost.
      syncDirectory(dirname(path));
      locks.move(); // the opened file's from here on
      return opened;
    } catch (error) {
      file?.close();
      throw new StorageError(`Cannot keep activations in ${path}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Number of records that can be read. */
  get count(): number {
    return this.#offsets.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Largest size that the file may get. */
  get limitBytes(): number {
    return this.#limitBytes;
  }

  /**
   * Reads a record.
   *
   * @param into as long as the record; its contents are unspecified if there is none
   * @returns whether the record was there, whole and undamaged
   */
  get(key: ActivationKey, into: Uint8Array): boolean {
    const offset = this.#offsets.get(key);
    if (this.#file === undefined || offset === undefined) return false;
    if (this.#read(this.#file, offset, key, into)) return true;
    this.#offsets.delete(key);
    this.#tell({ kind: "damaged" });
    return false;
  }

  /** Adds a record, unless it is there already, the file is full or the disk does not take it. */
  put(key: ActivationKey, content: Uint8Array): void {
    if (this.#file === undefined || this.#offsets.has(key)) return;
    const offset = this.#sizeBytes;
    const recordBytes = RECORD_HEADER_BYTES + content.length;
    if (offset + recordBytes > this.#limitBytes) {
      this.#tell({ kind: "full", sizeBytes: offset, limitBytes: this.#limitBytes });
      return;
    }
    const record = new Uint8Array(recordBytes);
    record.set(Uint8Array.fromHex(key));
    new DataView(record.buffer).setUint32(KEY_BYTES, content.length, true);
    record.set(checksum(key, content), KEY_BYTES + 4);
    record.set(content, RECORD_HEADER_BYTES);
    try {
      writeAt(this.#file, offset, record);
    } catch (error) {
      this.#turnOff(error as Error);
      return;
    }
    this.#offsets.set(key, offset);
    this.#sizeBytes += recordBytes;
  }

  /** Writes everything so far to the disk. */
  sync(): void {
    try {
      this.#file?.syncDataSync();
    } catch (error) {
      // After a failed sync it is unknown what the system has dropped.
      this.#turnOff(error as Error);
    }
  }

  /** Closes and removes the file. */
  remove(): void {
    if (this.#file === undefined) return;
    try {
      // The name first: a process that waits for the lock must not get a file that is about to go.
      Deno.removeSync(this.#path);
      this.#file.truncateSync();
    } catch {
      // Gone already, or in a folder that is now read-only: nothing depends on it.
    }
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
    this.#lock[Symbol.dispose]();
    this.#offsets.clear();
  }

  #turnOff({ message }: Error): void {
    this.remove();
    this.#tell({ kind: "off", reason: message });
  }

  #tell(event: ActivationFileEvent): void {
    if (this.#told.has(event.kind)) return;
    this.#told.add(event.kind);
    this.#onEvent(event);
  }

  #begin(identity: Uint8Array): void {
    const header = new Uint8Array(HEADER_BYTES);
    header.set(MAGIC);
    header.set(identity, MAGIC.length);
    new DataView(header.buffer).setFloat64(HEADER_BYTES - 8, this.#limitBytes, true);
    this.#file!.truncateSync();
    writeAt(this.#file!, 0, header);
    this.#sizeBytes = HEADER_BYTES;
  }

  /** Finds the records of an earlier run; `false` if the file has another identity. */
  #goOn(identity: Uint8Array): boolean {
    const file = this.#file!;
    const header = new Uint8Array(HEADER_BYTES);
    if (readAt(file, 0, header) < header.length) return false;
    const expected = [...MAGIC, ...identity];
    if (!expected.every((byte, i) => byte === header[i])) return false;
    const limit = new DataView(header.buffer).getFloat64(HEADER_BYTES - 8, true);
    this.#limitBytes = Math.min(this.#limitBytes, limit);
    const { size } = file.statSync();
    const record = new Uint8Array(RECORD_HEADER_BYTES);
    let offset = HEADER_BYTES;
    while (readAt(file, offset, record) === record.length) {
      const length = new DataView(record.buffer).getUint32(KEY_BYTES, true);
      const end = offset + RECORD_HEADER_BYTES + length;
      if (end > size) break;
      // A later record of the same key is there because an earlier one was damaged.
      this.#offsets.set(record.subarray(0, KEY_BYTES).toHex(), offset);
      offset = end;
    }
    file.truncateSync(offset);
    this.#sizeBytes = offset;
    return true;
  }

  #read(file: Deno.FsFile, offset: number, key: ActivationKey, into: Uint8Array): boolean {
    const header = new Uint8Array(RECORD_HEADER_BYTES);
    try {
      if (readAt(file, offset, header) < header.length) return false;
      const length = new DataView(header.buffer).getUint32(KEY_BYTES, true);
      if (length !== into.length) return false;
      if (readAt(file, offset + RECORD_HEADER_BYTES, into) < length) return false;
    } catch {
      return false; // an I/O error; what cannot be read is computed again
    }
    return checksum(key, into).every((byte, i) => byte === header[KEY_BYTES + 4 + i]);
  }
}

function checksum(key: ActivationKey, content: Uint8Array): Uint8Array {
  return createHash("sha256").update(key).update(content).digest().subarray(0, 16);
}

function writeAt(file: Deno.FsFile, offset: number, bytes: Uint8Array): void {
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}
