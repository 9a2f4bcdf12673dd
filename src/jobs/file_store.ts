/** Uploaded files, a folder each: what a client uploaded, and what it is. */
import { join } from "@std/path";
import * as v from "valibot";
import { BadInputError, GraftError, StorageError } from "../errors.ts";
import { makeDirectory, removeDirectory, replaceDirectory } from "../system/durable_files.ts";
import { regularFileSize } from "../system/regular_file.ts";
import { readSmallFile } from "../system/small_file.ts";
import { unixSeconds } from "../system/unix_time.ts";
import { isId, newId } from "./job_record.ts";
import { readRecord, readRecords } from "./read_record.ts";

const storedFile = v.object({
  /** `file-…` */
  id: v.string(),
  /** As the client named it; never a path. */
  filename: v.string(),
  bytes: v.number(),
  purpose: v.string(),
  /** Seconds since 1970. */
  created: v.number(),
});

export type StoredFile = Readonly<v.InferOutput<typeof storedFile>>;

const CONTENT = "content";
const RECORD = "file.json";

export class FileStore {
  readonly #folder: string;

  /**
   * @param folder is made if it is missing
   * @param onDamaged told of each upload that is damaged: it is as if it were not there
   */
  constructor(folder: string, onDamaged: (problem: string) => void) {
    this.#folder = folder;
    makeDirectory(folder);
    this.#readAll(onDamaged);
  }

  /** The newest first. */
  list(): readonly StoredFile[] {
    return this.#readAll(() => {}).toSorted((a, b) =>
      b.created - a.created || a.id.localeCompare(b.id)
    );
  }

  get(id: string): StoredFile | undefined {
    try {
      return this.#read(id);
    } catch (error) {
      if (error instanceof GraftError) return undefined;
      throw error;
    }
  }

  /**
   * What was uploaded.
   *
   * @throws {BadInputError} if it is no regular file
   * @throws {StorageError} if it cannot be read
   */
  content({ id }: StoredFile): Uint8Array<ArrayBuffer> {
    const path = join(this.#folder, id, CONTENT);
    const bytes = readSmallFile(path, Infinity);
    if (bytes === undefined) throw new StorageError(`${path} was removed: upload the file again`);
    return bytes;
  }

  add(filename: string, purpose: string, content: Uint8Array): StoredFile {
    const file: StoredFile = {
      id: newId("file"),
      filename,
      bytes: content.length,
      purpose,
      created: unixSeconds(),
    };
    replaceDirectory(
      join(this.#folder, file.id),
      new Map([
        [CONTENT, content],
        [RECORD, new TextEncoder().encode(JSON.stringify(file))],
      ]),
    );
    return file;
  }

  remove({ id }: StoredFile): void {
    removeDirectory(join(this.#folder, id));
  }

  #readAll(onDamaged: (problem: string) => void): readonly StoredFile[] {
    return readRecords(this.#folder, (name) => this.#read(name), onDamaged);
  }

  #read(id: string): StoredFile | undefined {
    if (!isId(id)) return undefined;
    const file = readRecord(join(this.#folder, id, RECORD), storedFile);
    if (file === undefined) return undefined;
    const path = join(this.#folder, id, CONTENT);
    if (regularFileSize(path) === file.bytes) return file;
    throw new BadInputError(`${path} is missing or damaged: remove its folder`);
  }
}
