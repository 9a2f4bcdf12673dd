/** How much memory a training run may take, and what follows if that is more than is free. */
import { parseSize } from "../config/size.ts";
import type { Message } from "../errors.ts";
import { formatBytes } from "../format.ts";

/** Share of the free memory that a run may plan for: the prediction has an error of its own. */
const SHARE_OF_FREE = 0.9;

/** The memory that the machine and the control groups leave to this process, in bytes. */
export interface MemoryThere {
  /** What programs can still take without swapping; `undefined` if that is unknown. */
  readonly freeBytes: number | undefined;
  readonly swapBytes: number;
  /** What this process has already: the run may use it. */
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
 * @param given what the configuration says; absent: a share of what is free, and swap if needed
 * @throws {ParameterError} if `given` is not a size
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

/** What happens when a run takes more memory than is free: the system swaps, or may end it. */
export type BeyondFree = "swaps" | "may be ended";

/** What happens to a run that takes `needed` bytes; `undefined` if they are free. */
export function beyondFree(needed: number, there: MemoryThere): BeyondFree | undefined {
  const { freeBytes = Infinity, swapBytes, ownBytes } = there;
  const beyond = needed - SHARE_OF_FREE * freeBytes - ownBytes;
  if (beyond <= 0) return undefined;
  return beyond <= swapBytes ? "swaps" : "may be ended";
}
