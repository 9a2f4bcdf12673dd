/** Injects a saved adapter into its base, to train it further. */
import { dirname } from "@std/path";
import type { LabelMap } from "../data/mod.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import { adapterDigest } from "../hub/adapter_store.ts";
import type { Adapter } from "../lora/adapter_files.ts";
import { applyAdapter, checkBase } from "../lora/apply.ts";
import { findModules, reachOf } from "../lora/mod.ts";
import { adapterFolder, loadAdapter, readAdapterFiles } from "../model/adapter_dir.ts";
import type { VirtualTokensConfig } from "../lora/virtual_tokens/config.ts";
import { type AdaptedModel, trainedOf } from "./adapted_model.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";

/** The parameters that change how a saved adapter is trained. */
type HowFurther = Pick<FineTuneConfig, "loraDropout" | "freezeA">;

/**
 * Injects a saved adapter into its base, to train it further.
 *
 * @param how dropout of this run, whatever the adapter was trained with before, and whether A is trained
 * @throws {BadInputError} if it belongs to another base or does not fit
 * @throws {UsageError} if it was trained for other classes
 */
export function continueAdapter(
  model: Model,
  adapter: Adapter,
  how: HowFurther,
  labels: LabelMap | undefined,
  where: string,
): AdaptedModel {
  checkBase(adapter, model, where);
  const saved = adapter.card?.labels;
  if (saved !== undefined && saved.join("\0") !== labels?.join("\0")) {
    throw new UsageError(
      `Cannot go on from ${where}: it was trained for the classes ${saved.slice(0, 5)}: ` +
        `current value is ${labels?.slice(0, 5) ?? "none"}`,
    );
  }
  const config = { ...adapter.config, dropout: how.loraDropout };
  const applied = applyAdapter(model, { ...adapter, config }, {
    dropout: true,
    trains: true,
  });
  // PEFT also adapts BERT's pooler where nothing reads it.
  const reaches = reachOf(model);
  const others = new Set(
    findModules(model).filter((module) => !reaches(module)).map(({ path }) => path),
  );
  const reached = [...applied.trainable].filter(([, { path }]) => !others.has(path));
  return {
    model: applied.model,
    trainable: applied.trainable,
    trained: trainedOf(new Map(reached), how),
    atBase: false,
    newHead: adapter.head !== undefined,
    config,
  };
}

/**
 * Reads an adapter and injects it into its base.
 *
 * @param path its folder, or the file of its weights
 * @throws {BadInputError | UsageError} as {@linkcode continueAdapter} does, and if it cannot be read
 */
export function adaptFurther(
  model: Model,
  path: string,
  how: HowFurther,
  labels: LabelMap | undefined,
  onEvent: OnEvent<PreparationEvent>,
): AdaptedModel {
  const directory = folderOfAdapter(path);
  const { adapter, notes } = loadAdapter(directory);
  for (const text of notes) onEvent({ kind: "adapter note", text });
  return continueAdapter(model, adapter, how, labels, directory);
}

/** What an adapter to continue from says of its virtual tokens. */
export const virtualTokensOf = (path: string): VirtualTokensConfig | undefined =>
  loadAdapter(folderOfAdapter(path)).adapter.config.virtualTokens;

/** mlx_lm names an adapter's file, PEFT its folder. */
const folderOfAdapter = (path: string) => path.endsWith(".safetensors") ? dirname(path) : path;

/** Digest of the adapter that training continues from; empty if it starts from scratch. */
export function parentsOf(path: string | undefined): readonly string[] {
  if (path === undefined) return [];
  return [adapterDigest(readAdapterFiles(adapterFolder(folderOfAdapter(path))))];
}
