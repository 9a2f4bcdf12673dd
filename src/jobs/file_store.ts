/** Uploaded files, a folder each: what a client uploaded, and what it is. */
import { join } from "@std/path";
import { makeDirectory, removeDirectory, replaceDirectory } from "../system/durable_files.ts";
import { readSmallText } from "../system/small_file.ts";
import { unixSeconds } from "../system/unix_time.ts";
import { isId, newId } from "./job_record.ts";

export interface StoredFile {
  /** `file-…` */
  readonly id: string;
  /** As the client named it; never a path. */
  readonly filename: string;
  readonly bytes: number;
  readonly purpose: string;
  /** Seconds since 1970. */
  readonly created: number;
}

const CONTENT = "content";
const RECORD = "file.json";

export class FileStore {
  readonly #folder: string;

  /** @param folder is made if it is missing */
  constructor(folder: string) {
    this.#folder = folder;
    makeDirectory(folder);
  }

  /** The newest first. */
  list(): readonly StoredFile[] {
    return [...Deno.readDirSync(this.#folder)].filter(({ name }) => isId(name))
      .flatMap(({ name }) => this.get(name) ?? [])
      .sort((a, b) => b.created - a.created || a.id.localeCompare(b.id));
  }

  get(id: string): StoredFile | undefined {
    const text = isId(id) ? readSmallText(join(this.#folder, id, RECORD)) : undefined;
    return text === undefined ? undefined : JSON.parse(text);
  }

  /** Path of a file's content. */
  contentPath({ id }: StoredFile): string {
    return join(this.#folder, id, CONTENT);
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
}
