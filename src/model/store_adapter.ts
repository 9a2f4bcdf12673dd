/** Puts an adapter's folder into graft's store, with what its files say about it. */
import { join } from "@std/path";
import type { AdapterFacts } from "../hub/adapter_record.ts";
import { AdapterStore, type StoredAdapter } from "../hub/adapter_store.ts";
import { decodeAdapter } from "../lora/adapter_files.ts";
import { readAdapterFiles } from "./adapter_dir.ts";
import { readSmallText } from "../system/small_file.ts";

/**
 * Adds an adapter under a name.
 *
 * @throws {BadInputError} where the folder holds no sound adapter
 * @throws {StorageError} naming the path
 */
export function saveAdapterAs(name: string, folder: string): StoredAdapter {
  const files = readAdapterFiles(folder);
  const { card, config } = decodeAdapter(files, folder);
  const facts: AdapterFacts = {
    base_digest: card?.baseDigest ?? null,
    base: config.base ?? null,
    task: card?.task ?? null,
    data_digest: card?.dataDigest ?? null,
    parents: card?.parents ?? [],
    metrics: lastMetrics(readSmallText(join(folder, "metrics.jsonl"))),
  };
  return new AdapterStore().add(name, files, facts);
}

const KEPT = ["step", "loss", "val_loss", "val_accuracy"] as const;

/** The last figures of each kind in a run's `metrics.jsonl`; lines that are cut short do not count. */
export function lastMetrics(text: string | undefined): Readonly<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const line of text?.split("\n") ?? []) {
    let fields: Record<string, unknown>;
    try {
      fields = JSON.parse(line) ?? {};
    } catch {
      continue;
    }
    for (const key of KEPT) {
      const value = fields[key];
      // JSON has numbers that are read as infinite, and none to write those.
      if (typeof value === "number" && Number.isFinite(value)) found[key] = value;
    }
  }
  return found;
}
