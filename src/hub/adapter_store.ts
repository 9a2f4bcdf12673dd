/**
 * The store of adapters: each lies in a folder named by its content, names point to them.
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
import { BadInputError, RefusedError, UsageError } from "../errors.ts";
import { digestOf } from "../lora/digest.ts";
import { claimDirectory } from "../system/claim.ts";
import {
  exists,
  makeDirectory,
  removeDirectory,
  replaceDirectory,
  replaceFile,
} from "../system/durable_files.ts";
import { readSmallText } from "../system/small_file.ts";
import { parseModelName } from "./names.ts";
import { graftHome } from "./settings.ts";

/** What is known of an adapter beside its files; `null` where it is not. */
export interface AdapterRecord {
  readonly format_version: 1;
  /** Of the files, as `sha256:<hex>`. */
  readonly digest: string;
  /** Digest of the model it was trained on. */
  readonly base_digest: string | null;
  /** That model as the run named it. */
  readonly base: string | null;
  readonly task: string | null;
  readonly data_digest: string | null;
  /** Digests of the adapters that it was trained on from. */
  readonly parents: readonly string[];
  readonly metrics: Readonly<Record<string, number>>;
  /** When it was put here, ISO 8601. */
  readonly created: string;
  readonly size_bytes: number;
}

/** What whoever adds an adapter knows. */
export type AdapterFacts = Omit<
  AdapterRecord,
  "format_version" | "digest" | "created" | "size_bytes"
>;

/** An adapter by name. */
export interface StoredAdapter {
  readonly name: string;
  readonly folder: string;
  readonly record: AdapterRecord;
}

const RECORD = "record.json";
const NAMES = "names";

/** Digest of an adapter's files, whatever order they come in. */
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
  /** @param root the folder; it need not be there */
  constructor(readonly root: string = join(graftHome(), "adapters")) {}

  #folder(digest: string): string {
    return join(this.root, digest.replace(/^sha256:/, ""));
  }

  #nameFile(name: string): string {
    return join(this.root, NAMES, name.replace("/", "--"));
  }

  /**
   * Adds an adapter, or gives one that is there a name more. A name that was in use moves: the
   * adapter it stood for stays while another name has it.
   *
   * @throws {StorageError} naming the path
   */
  add(name: string, files: ReadonlyMap<string, Uint8Array>, facts: AdapterFacts): StoredAdapter {
    checkAdapterName(name);
    const digest = adapterDigest(files);
    const folder = this.#folder(digest);
    makeDirectory(join(this.root, NAMES));
    if (!exists(folder)) {
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
    const before = this.find(name);
    replaceFile(this.#nameFile(name), new TextEncoder().encode(basename(folder)));
    if (before !== undefined && before.folder !== folder) this.#removeUnnamed(before);
    return this.find(name)!;
  }

  /** The adapter of a name; `undefined` where there is none. */
  find(name: string): StoredAdapter | undefined {
    const file = this.#nameFile(name);
    const hex = readSmallText(file)?.trim();
    if (hex === undefined) return undefined;
    if (!/^[0-9a-f]{64}$/.test(hex)) throw new BadInputError(`${file} names no adapter`);
    const folder = join(this.root, hex);
    return { name, folder, record: readRecord(join(folder, RECORD)) };
  }

  /** All adapters that have a name. */
  list(): readonly StoredAdapter[] {
    let names: string[];
    try {
      names = Array.from(Deno.readDirSync(join(this.root, NAMES)), ({ name }) => name);
    } catch {
      return []; // nothing was added yet
    }
    return names.filter((name) => !name.startsWith(".")).sort().flatMap((name) =>
      this.find(name.replace("--", "/")) ?? []
    );
  }

  /**
   * Removes a name, and the adapter where it has no other.
   *
   * @throws {RefusedError} where a process uses it
   */
  remove(adapter: StoredAdapter): void {
    const { folder, name } = adapter;
    if (this.#namesOf(folder).length === 1 && exists(folder)) {
      using claim = claimDirectory(folder);
      if (claim === undefined) {
        throw new RefusedError(`Cannot remove ${name}: a process uses it; stop that first`);
      }
      Deno.removeSync(this.#nameFile(name));
      removeDirectory(folder);
    } else Deno.removeSync(this.#nameFile(name));
  }

  #namesOf(folder: string): readonly string[] {
    return this.list().filter((other) => other.folder === folder).map(({ name }) => name);
  }

  /** One that a process uses stays: without a name it is no more than a folder. */
  #removeUnnamed({ folder }: StoredAdapter): void {
    if (this.#namesOf(folder).length > 0 || !exists(folder)) return;
    using claim = claimDirectory(folder);
    if (claim !== undefined) removeDirectory(folder);
  }
}

function readRecord(path: string): AdapterRecord {
  let record: unknown;
  try {
    record = JSON.parse(Deno.readTextFileSync(path));
  } catch (cause) {
    throw new BadInputError(`Cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  const version = (record as Partial<AdapterRecord> | null)?.format_version;
  if (version === 1) return record as AdapterRecord;
  throw new BadInputError(`${path}: "format_version" must be 1: current value is ${version}`);
}
