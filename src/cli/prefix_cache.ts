/** `--prefix-cache`: what frozen layers below the adapter compute, kept beside the adapter over the epochs. */
import { join } from "@std/path";
import { StorageError } from "../errors.ts";
import { exists } from "../system/durable_files.ts";
import { freeDiskBytes } from "../system/disk.ts";
import { ActivationFile, type ActivationFileEvent } from "../train/activation_file.ts";
import { stepsOf, type TrainSettings } from "../train/loop.ts";
import type { BatchSource } from "../train/step.ts";
import { formatBytes, formatCount } from "./format.ts";
import { paint, type Terminal } from "./output.ts";
import { parseSize } from "./size.ts";
import type { TrainFlags } from "./train_flags.ts";

/** Name of the file in the adapter's folder. It goes when the run ends, and stays for a resume. */
const FILE = "prefix-cache";
/** Share of the free disk that it may take. */
const SHARE_OF_FREE = 0.5;

/** Frozen layers below everything trained, whose results can be kept. */
export interface FrozenLayers {
  /** What decides their results beside the tokens. */
  readonly identity: string;
  /** Keeps results in a file from now on. */
  keepIn(file: ActivationFile): void;
}

/**
 * Opens the file that a run keeps results in; `undefined` where it would never read one, or cannot
 * keep any.
 *
 * @throws {UsageError} for a size that is none
 */
export function openPrefixCache(
  frozen: FrozenLayers | undefined,
  flags: TrainFlags,
  settings: TrainSettings,
  data: BatchSource,
  terminal: Terminal,
): ActivationFile | undefined {
  const asked = prefixCacheBytes(flags.prefixCache);
  const path = join(flags.adapterPath, FILE);
  const repeats = settings.totalSteps > stepsOf(data, 1, settings.accumulation);
  if (frozen === undefined || asked === 0 || !repeats) {
    if (!flags.resume) removeOlder(path);
    return undefined;
  }
  const free = freeDiskBytes(flags.adapterPath);
  const limitBytes = Math.min(asked, free === undefined ? asked : SHARE_OF_FREE * free);
  const warn = (text: string) => terminal.note(paint(terminal, "yellow", text));
  try {
    const file = ActivationFile.open(path, {
      identity: frozen.identity,
      limitBytes,
      resume: flags.resume,
      onEvent: (event) => warn(sentence(event, path)),
    });
    if (file === undefined) {
      warn(`Nothing is kept of the frozen layers: another run has ${path}`);
      return undefined;
    }
    frozen.keepIn(file);
    terminal.note(
      `Frozen layers below the adapter run once a sequence: their output is kept in ${path}, ` +
        `up to ${formatBytes(file.limitBytes)}` +
        (file.count > 0 ? `; ${formatCount(file.count)} sequences are there` : ""),
    );
    return file;
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    warn(`Nothing is kept of the frozen layers: ${error.message}`);
    return undefined;
  }
}

/** @throws {UsageError} for a size that is none */
export function prefixCacheBytes(size: string): number {
  return /^0+$/.test(size.trim()) ? 0 : parseSize(size, "--prefix-cache");
}

function removeOlder(path: string): void {
  try {
    if (exists(path)) Deno.removeSync(path);
  } catch {
    // It takes room and does no other harm.
  }
}

function sentence(event: ActivationFileEvent, path: string): string {
  switch (event.kind) {
    case "full":
      return `${path} is full at ${
        formatBytes(event.sizeBytes)
      }: what is not in it is computed in ` +
        "every epoch; --prefix-cache gives it more room";
    case "damaged":
      return `${path} was damaged: unreadable rows are computed again`;
    case "off":
      return `Nothing is kept of the frozen layers from here on, and ${path} is removed: ` +
        event.reason;
  }
}
