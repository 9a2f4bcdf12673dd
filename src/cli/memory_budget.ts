/** How much memory a training run may take, and what is said where that is more than there is. */
import { formatBytes } from "./format.ts";
import { parseSize } from "../config/size.ts";

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
  readonly source: string;
}

/**
 * @param given value of `--memory-budget`; absent: a share of what is free, and swap where it must be
 * @throws {UsageError} where `given` is no size
 */
export function memoryBudget(given: string | undefined, there: MemoryThere): MemoryBudget {
  const { freeBytes, swapBytes, ownBytes } = there;
  const swap = swapBytes > 0 ? ` and ${formatBytes(swapBytes)} of swap` : "";
  if (given !== undefined) {
    const bytes = parseSize(given, "memoryBudget");
    const beside = freeBytes === undefined ? "" : `, ${formatBytes(freeBytes)} free${swap}`;
    return { bytes, mostBytes: bytes, source: `--memory-budget ${given}${beside}` };
  }
  if (freeBytes === undefined) {
    return { bytes: Infinity, mostBytes: Infinity, source: "free memory unknown" };
  }
  const bytes = SHARE_OF_FREE * freeBytes + ownBytes;
  const source = `${formatBytes(freeBytes)}${swap} free`;
  return { bytes, mostBytes: bytes + swapBytes, source };
}

/** What a user is told of a run that will take `needed` bytes; `undefined` where they are free. */
export function beyondFree(needed: number, there: MemoryThere): string | undefined {
  const { freeBytes = Infinity, swapBytes, ownBytes } = there;
  const beyond = needed - SHARE_OF_FREE * freeBytes - ownBytes;
  if (beyond <= 0) return undefined;
  return beyond <= swapBytes
    ? "that is more than is free: the system will swap"
    : "that is more than is free: the system may end the run; without --memory-budget it is " +
      "made to fit, or refused";
}
