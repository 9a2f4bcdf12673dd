/**
 * The adapter store: each adapter is in a folder named by its digest, and names point to the folders.
 *
 * ```
 * adapters/<sha256>/adapter_config.json …   the files, as a run saved them
 * adapters/<sha256>/record.json             base, data, metrics, parents, time
 * adapters/names/<name>                     the sha256
 * ```
 *
 * It is in `GRAFT_HOME` and not in a cache: an adapter cannot be pulled again.
 */
import { basename, join } from "@std/path";
import { BadInputError, GraftError, RefusedError, UsageError } from "../errors.ts";
import { digestOf } from "../lora/digest.ts";
import { claimDirectory } from "../system/claim.ts";
import {
  exists,
  makeDirectory,
  removeDirectory,
  removeFile,
  replaceDirectory,
  replaceFile,
} from "../system/durable_files.ts";
import { readSmallText } from "../system/small_file.ts";
import {
  type AdapterFacts,
  type AdapterRecord,
  isReadable,
  readRecord,
  RECORD,
} from "./adapter_record.ts";
import { parseModelName } from "./names.ts";
import { graftHome } from "./settings.ts";

/** An adapter's name and folder; the folder's contents are not read. */
export interface AdapterEntry {
  /** Name in the store. */
  readonly name: string;
  /** Absent if the file of the name is damaged. */
  readonly folder?: string;
}

/** An adapter by name. */
export interface StoredAdapter extends AdapterEntry {
  /** Folder with the adapter's files. */
  readonly folder: string;
  /** What is known of the adapter. */
  readonly record: AdapterRecord;
}

const NAMES = "names";

/** Digest of an adapter's files, independent of their order. */
export function adapterDigest(files: ReadonlyMap<string, Uint8Array>): string {
  const parts = [...files].map(([name, bytes]) => [name, digestOf(bytes)]).sort();
  return digestOf(new TextEncoder().encode(JSON.stringify(parts)));
}

/** @throws {UsageError} for a name that an adapter cannot have */
export function checkAdapterName(name: string): string {
  const parsed = parseModelName(name);
  if (parsed !== undefined && parsed.revision === undefined && parsed.variant === undefined) {
    return name;
  }
  throw new UsageError(
    `An adapter's name must be letters, digits and _.-, with one / at most: current value is ` +
      JSON.stringify(name),
  );
}

/** The adapters of a folder. */
export class AdapterStore {
  /**
   * Names a store.
   *
   * @param root the folder; it need not exist
   */
  constructor(readonly root: string = join(graftHome(), "adapters")) {}

  #folder(digest: string): string {
    return join(this.root, digest.replace(/^sha256:/, ""));
  }

  #nameFile(name: string): string {
    return join(this.root, NAMES, name.replace("/", "--"));
  }

  /**
   * Adds an adapter, or another name for an existing one; an adapter with a damaged record is written
   * again. A name in use now points to the new adapter: the earlier one stays while it has another name.
   *
   * @throws {StorageError} naming the path
   */
  add(name: string, files: ReadonlyMap<string, Uint8Array>, facts: AdapterFacts): StoredAdapter {
    checkAdapterName(name);
    const digest = adapterDigest(files);
    const folder = this.#folder(digest);
    makeDirectory(join(this.root, NAMES));
    if (!exists(folder) || !isReadable(folder)) {
      const record: AdapterRecord = {
        format_version: 1,
        digest,
        ...facts,
        created: new Date().toISOString(),
        size_bytes: files.values().reduce((sum, { length }) => sum + length, 0),
      };
      const text = JSON.stringify(record, null, 2) + "\n";
      replaceDirectory(folder, new Map([...files, [RECORD, new TextEncoder().encode(text)]]));
    }
    const before = this.entry(name);
    replaceFile(this.#nameFile(name), new TextEncoder().encode(basename(folder)));
    if (before?.folder !== undefined && before.folder !== folder) {
      this.#removeUnnamed(before.folder);
    }
    return this.find(name)!;
  }

  /** The entry of a name; `undefined` if there is no such name. */
  entry(name: string): AdapterEntry | undefined {
    const hex = readSmallText(this.#nameFile(name))?.trim();
    if (hex === undefined) return undefined;
    return /^[0-9a-f]{64}$/.test(hex) ? { name, folder: join(this.root, hex) } : { name };
  }

  /**
   * The adapter of a name; `undefined` if there is none.
   *
   * @throws {BadInputError} if the name or the record is damaged, naming the file and what to do
   */
  find(name: string): StoredAdapter | undefined {
    const entry = this.entry(name);
    if (entry === undefined) return undefined;
    const { folder } = entry;
    try {
      if (folder === undefined) throw new BadInputError(`${this.#nameFile(name)} names no adapter`);
      return { name, folder, record: readRecord(folder) };
    } catch (cause) {
      if (!(cause instanceof BadInputError)) throw cause;
      throw new BadInputError(
        `The adapter ${name} is damaged: ${cause.message}; \`graft rm ${name}\` removes it, and ` +
          "save it again",
        { cause },
      );
    }
  }

  /**
   * All adapters that have a name.
   *
   * @param onDamaged called for each entry that cannot be read
   */
  list(onDamaged: (error: GraftError) => void = () => {}): readonly StoredAdapter[] {
    return this.#names().flatMap((name) => {
      try {
        return this.find(name) ?? [];
      } catch (error) {
        if (!(error instanceof GraftError)) throw error;
        onDamaged(error);
        return [];
      }
    });
  }

  /**
   * Removes a name, and the adapter if it has no other name, damaged or not.
   *
   * @throws {RefusedError} if a process uses it
   */
  remove({ folder, name }: AdapterEntry): void {
    if (folder !== undefined && this.#namesOf(folder).length === 1 && exists(folder)) {
      using claim = claimDirectory(folder);
      if (claim === undefined) {
        throw new RefusedError(`Cannot remove ${name}: a process uses it; stop that first`);
      }
      removeFile(this.#nameFile(name));
      removeDirectory(folder);
    } else removeFile(this.#nameFile(name));
  }

  #names(): readonly string[] {
    let files: string[];
    try {
      files = Array.from(Deno.readDirSync(join(this.root, NAMES)), ({ name }) => name);
    } catch {
      return []; // nothing was added yet
    }
    return files.map((file) => file.replace("--", "/")).filter((name) =>
      parseModelName(name)?.repository === name
    ).sort();
  }

  /** Names of an adapter; the records of other adapters are not read, because they may be damaged. */
  #namesOf(folder: string): readonly string[] {
    return this.#names().filter((name) => {
      try {
        return this.entry(name)?.folder === folder;
      } catch (error) {
        if (!(error instanceof GraftError)) throw error;
        return false;
      }
    });
  }

  /** Removes an adapter without a name, unless a process uses it. */
  #removeUnnamed(folder: string): void {
    if (this.#namesOf(folder).length > 0 || !exists(folder)) return;
    using claim = claimDirectory(folder);
    if (claim !== undefined) removeDirectory(folder);
  }
}
