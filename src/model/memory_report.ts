/** Predicted memory as text. */
import type { PredictedMemory } from "../plan/memory.ts";
import { formatCount } from "../format.ts";

/** What a peak is made of. */
export function madeOf(memory: PredictedMemory): string {
  const { weightBytes, savedBytes, temporaryBytes, adapterBytes, baseBytes } = memory;
  return [
    `weights ${megabytes(weightBytes)}`,
    `saved activations ${megabytes(savedBytes)}`,
    `temporaries ${megabytes(temporaryBytes)}`,
    `adapter and optimiser ${megabytes(adapterBytes)}`,
    `graft and runtime ${megabytes(baseBytes)}`,
  ].join(", ");
}

/** Bytes as `1,737 MB`: finer than `1.7 GB`. */
export function megabytes(bytes: number): string {
  return `${formatCount(Math.round(bytes / 1e6))} MB`;
}
