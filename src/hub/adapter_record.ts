/** `record.json`: data of an adapter in graft's store besides its files. */
import { join } from "@std/path";
import { BadInputError, GraftError } from "../errors.ts";
import { JsonFields } from "../lora/json_fields.ts";
import { readSmallText } from "../system/small_file.ts";

/** The record's name in the adapter's folder. */
export const RECORD = "record.json";

/** Data of an adapter besides its files; `null` for unknown values. */
export interface AdapterRecord {
  /** Version of the record's form. */
  readonly format_version: 1;
  /** Digest of the files, as `sha256:<hex>`. */
  readonly digest: string;
  /** Digest of the base model. */
  readonly base_digest: string | null;
  /** Name of the base model in the training run. */
  readonly base: string | null;
  /** `causal` or `classification`, where it is known. */
  readonly task: string | null;
  /** SHA-256 of the training data, where it is known. */
  readonly data_digest: string | null;
  /** Digests of the adapters that its training started from. */
  readonly parents: readonly string[];
  /** Last figures of the training by name. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Time at which it was stored, ISO 8601. */
  readonly created: string;
  /** Size of all files in bytes. */
  readonly size_bytes: number;
}

/** The part of a record that the caller provides. */
export type AdapterFacts = Omit<
  AdapterRecord,
  "format_version" | "digest" | "created" | "size_bytes"
>;

/** Whether an adapter's folder has a valid record. */
export function isReadable(folder: string): boolean {
  try {
    readRecord(folder);
    return true;
  } catch (error) {
    if (error instanceof GraftError) return false;
    throw error;
  }
}

/**
 * Reads the record of an adapter's folder.
 *
 * @throws {BadInputError} if it is missing or damaged, naming the file and the field
 * @throws {StorageError} if it cannot be read
 */
export function readRecord(folder: string): AdapterRecord {
  const path = join(folder, RECORD);
  const text = readSmallText(path);
  if (text === undefined) throw new BadInputError(`${path} is missing`);
  const fields = JsonFields.parse(text, path);
  const version = fields.number("format_version");
  if (version !== 1) throw fields.wrong("format_version", "1");
  const needed = <T>(name: string, what: string, value: T | undefined): T => {
    if (value === undefined) throw fields.wrong(name, what);
    return value;
  };
  return {
    format_version: version,
    digest: needed("digest", "a string", fields.string("digest")),
    base_digest: fields.string("base_digest") ?? null,
    base: fields.string("base") ?? null,
    task: fields.string("task") ?? null,
    data_digest: fields.string("data_digest") ?? null,
    parents: fields.strings("parents") ?? [],
    metrics: fields.numbersByName("metrics") ?? {},
    created: needed("created", "a time", fields.string("created")),
    size_bytes: needed("size_bytes", "a number", fields.number("size_bytes")),
  };
}
