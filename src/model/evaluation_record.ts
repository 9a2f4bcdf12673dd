/**
 * `evaluation.json` in an adapter's folder: the losses that training found on its held-out data, before
 * the first step and with the adapter as it was saved. A merge that measures on the same data need not
 * compute them again.
 */
import { join } from "@std/path";
import { BadInputError, StorageError } from "../errors.ts";
import type { KnownLosses, ReferenceLosses } from "../eval/evaluate.ts";
import { ADAPTER_FILES } from "../lora/adapter_files.ts";
import { digestOf } from "../lora/digest.ts";
import { JsonFields } from "../lora/json_fields.ts";
import { replaceFile } from "../system/durable_files.ts";
import { readSmallFile, readSmallText } from "../system/small_file.ts";

const EVALUATION_FILE = "evaluation.json";
/** Raised when a reader of the old format could not read the new. */
const FORMAT_VERSION = 1;

/** What training found, and on what. */
export interface EvaluationRecord extends ReferenceLosses {
  /** What computed them, as a runner describes itself. */
  readonly runtime: string;
  /** Of the batches, by `batchesDigest`. */
  readonly dataDigest: string;
}

/** Digest of an adapter folder's `graft.json`, which has those of all its files. */
function cardDigest(directory: string): string {
  const card = readSmallFile(join(directory, ADAPTER_FILES.card));
  return card === undefined ? "" : digestOf(card);
}

/**
 * Writes the record of the adapter that is in a folder.
 *
 * @throws {StorageError} naming the path
 */
export function writeEvaluationRecord(directory: string, record: EvaluationRecord): void {
  const losses = ({ losses, targets }: KnownLosses) => ({ losses, targets });
  const fields = {
    format_version: FORMAT_VERSION,
    card_digest: cardDigest(directory),
    runtime: record.runtime,
    data_digest: record.dataDigest,
    base: losses(record.base),
    adapter: losses(record.adapter),
  };
  replaceFile(
    join(directory, EVALUATION_FILE),
    new TextEncoder().encode(JSON.stringify(fields) + "\n"),
  );
}

/**
 * Reads the record of the adapter that is in a folder; `undefined` where there is none, or none that
 * can be made use of: what it would save is measured then.
 */
export function readEvaluationRecord(directory: string): EvaluationRecord | undefined {
  try {
    const path = join(directory, EVALUATION_FILE);
    const text = readSmallText(path);
    if (text === undefined) return undefined;
    const json = JsonFields.parse(text, path);
    const isOurs = json.number("format_version") === FORMAT_VERSION &&
      json.string("card_digest") === cardDigest(directory);
    const [runtime, dataDigest] = [json.string("runtime"), json.string("data_digest")];
    const [base, adapter] = ["base", "adapter"].map((name) => lossesOf(json.fields.get(name)));
    const isWhole = runtime !== undefined && dataDigest !== undefined && base !== undefined &&
      adapter !== undefined;
    return isOurs && isWhole ? { runtime, dataDigest, base, adapter } : undefined;
  } catch (error) {
    if (error instanceof BadInputError || error instanceof StorageError) return undefined;
    throw error;
  }
}

function lossesOf(value: unknown): KnownLosses | undefined {
  const { losses, targets } = Object(value);
  const areNumbers = [losses, targets].every((list) =>
    Array.isArray(list) && list.every((item) => Number.isFinite(item))
  );
  return areNumbers && losses.length === targets.length && losses.length > 0
    ? { losses, targets }
    : undefined;
}
