/** What frozen layers below the adapter compute, kept beside the adapter across epochs. */
import { join } from "@std/path";
import { parseSize } from "../config/size.ts";
import { StorageError } from "../errors.ts";
import { freeDiskBytes } from "../system/disk.ts";
import { exists } from "../system/durable_files.ts";
import { ActivationFile, type ActivationFileEvent } from "../train/activation_file.ts";
import { stepsOf, type TrainSettings } from "../train/loop.ts";
import type { BatchSource } from "../train/step.ts";
import type { FineTuneConfig } from "./config.ts";
import type { OnEvent, PrefixCacheEvent } from "./events.ts";

/** Name of the file in the adapter's folder. It is removed when the run ends and stays for a resume. */
const FILE = "prefix-cache";
/** Share of the free disk space that it may take. */
const SHARE_OF_FREE = 0.5;

/** Frozen layers below everything trained, whose results can be kept. */
export interface FrozenLayers {
  /** What decides their results besides the tokens. */
  readonly identity: string;
  /** Keeps results in a file from now on. */
  keepIn(file: ActivationFile): void;
}

/**
 * Opens the file that a run keeps results in; `undefined` if it would never read one, or cannot keep any.
 *
 * @throws {ParameterError} for text that is not a size
 */
export function openPrefixCache(
  frozen: FrozenLayers | undefined,
  config: Pick<FineTuneConfig, "prefixCache" | "adapterPath" | "resume">,
  settings: TrainSettings,
  data: BatchSource,
  onEvent: OnEvent<PrefixCacheEvent>,
): ActivationFile | undefined {
  const asked = prefixCacheBytes(config.prefixCache);
  const path = join(config.adapterPath, FILE);
  const repeats = settings.totalSteps > stepsOf(data, 1, settings.accumulation);
  if (frozen === undefined || asked === 0 || !repeats) {
    if (!config.resume) removeOlder(path);
    return undefined;
  }
  const free = freeDiskBytes(config.adapterPath);
  const limitBytes = Math.min(asked, free === undefined ? asked : SHARE_OF_FREE * free);
  try {
    const { resume } = config;
    return open(frozen, path, { limitBytes, resume }, onEvent);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    onEvent({ kind: "prefix cache failed", reason: error.message });
    return undefined;
  }
}

function open(
  frozen: FrozenLayers,
  path: string,
  how: { readonly limitBytes: number; readonly resume: boolean },
  onEvent: OnEvent<PrefixCacheEvent>,
): ActivationFile | undefined {
  const file = ActivationFile.open(path, {
    ...how,
    identity: frozen.identity,
    onEvent: (event) => onEvent(eventOf(event, path)),
  });
  if (file === undefined) {
    onEvent({ kind: "prefix cache busy", path });
    return undefined;
  }
  frozen.keepIn(file);
  const { limitBytes, count: sequences } = file;
  onEvent({ kind: "prefix cache opened", path, limitBytes, sequences });
  return file;
}

/**
 * A size, or 0 if nothing is to be kept.
 *
 * @throws {ParameterError} for text that is not a size
 */
export function prefixCacheBytes(size: string): number {
  return /^0+$/.test(size.trim()) ? 0 : parseSize(size, "prefixCache");
}

function removeOlder(path: string): void {
  try {
    if (exists(path)) Deno.removeSync(path);
  } catch {
    // It takes space and does no other harm.
  }
}

function eventOf(event: ActivationFileEvent, path: string): PrefixCacheEvent {
  switch (event.kind) {
    case "full":
      return { kind: "prefix cache full", path, sizeBytes: event.sizeBytes };
    case "damaged":
      return { kind: "prefix cache damaged", path };
    case "off":
      return { kind: "prefix cache removed", path, reason: event.reason };
  }
}
