/** How much memory a training run may take, and what follows where that is more than there is. */
import { parseSize } from "../config/size.ts";
import type { Message } from "../errors.ts";
import { formatBytes } from "../format.ts";

/** Share of what is free that a run may plan for: the prediction has an error of its own. */
const SHARE_OF_FREE = 0.9;

/** What the machine and the control groups leave to this process, in bytes. */
export interface MemoryThere {
  /** What programs can still take without swapping; `undefined` where that is unknown. */
  readonly freeBytes: number | undefined;
  readonly swapBytes: number;
  /** What this process has already: it is its to use. */
  readonly ownBytes: number;
}

/** A run's budget. */
export interface MemoryBudget {
  /** Bytes that a run is made to fit in. */
  readonly bytes: number;
  /** Bytes beyond which it is refused. */
  readonly mostBytes: number;
  /** Where the number comes from. */
  readonly source: Message;
}

/**
 * @param given what the configuration says; absent: a share of what is free, and swap where it must be
 * @throws {ParameterError} where `given` is no size
 */
export function memoryBudget(given: string | undefined, there: MemoryThere): MemoryBudget {
  const { freeBytes, swapBytes, ownBytes } = there;
  const swap = swapBytes > 0 ? ` and ${formatBytes(swapBytes)} of swap` : "";
  if (given !== undefined) {
    const bytes = parseSize(given, "memoryBudget");
    const beside = freeBytes === undefined ? "" : `, ${formatBytes(freeBytes)} free${swap}`;
    return { bytes, mostBytes: bytes, source: (name) => name("memoryBudget", given) + beside };
  }
  if (freeBytes === undefined) {
    return { bytes: Infinity, mostBytes: Infinity, source: "free memory unknown" };
  }
  const bytes = SHARE_OF_FREE * freeBytes + ownBytes;
  const source = `${formatBytes(freeBytes)}${swap} free`;
  return { bytes, mostBytes: bytes + swapBytes, source };
}

/** How a run takes more memory than is free: the system swaps, or may end it. */
export type BeyondFree = "swaps" | "may be ended";

/** What a run does to the system that will take `needed` bytes; `undefined` where they are free. */
export function beyondFree(needed: number, there: MemoryThere): BeyondFree | undefined {
  const { freeBytes = Infinity, swapBytes, ownBytes } = there;
  const beyond = needed - SHARE_OF_FREE * freeBytes - ownBytes;
  if (beyond <= 0) return undefined;
  return beyond <= swapBytes ? "swaps" : "may be ended";
}
