/** How long a text process may compute, and how much memory it may take. */
import { UsageError } from "../errors.ts";
import type { TextChild } from "./guard_child.ts";

/** Enough for a small call on a slow core, and still under two seconds. */
export const DEADLINE_MS = 1500;

/** Time that input adds: several times what a slow core takes. */
const MS_PER_CHARACTER = 0.004;
const MS_PER_FILE_BYTE = 0.001;

/**
 * Heap: the longest rows take some 100 bytes a character; tables eleven times the file, and four
 * times that while they are made.
 */
const HEAP_MB = 192;
const HEAP_PER_FILE_BYTE = 64;

/** Memory beside the heap: Deno's own, messages, typed arrays. */
const BESIDE_HEAP_MB = 96;

/** Waiting is counted in ticks of this thread, so that a suspended machine costs nothing. */
const TICK_MS = 25;
/** Times the deadline by the clock, after which work ends however little it could compute. */
const PATIENCE = 20;

/** Time for a call whose input has this size; `own` stands in for the usual part of it. */
export function deadlineMs(
  own: number | undefined,
  { characters = 0, fileBytes = 0 }: { readonly characters?: number; readonly fileBytes?: number },
): number {
  const usual = usualDeadlineMs();
  const extraMs = characters * MS_PER_CHARACTER + fileBytes * MS_PER_FILE_BYTE;
  // A machine that needs a longer deadline needs it for long texts as well.
  return (own ?? usual) + extraMs * Math.max(1, usual / DEADLINE_MS);
}

/** What the environment says where machines are very slow, as emulated ones are. */
function usualDeadlineMs(): number {
  const text = Deno.env.get("GRAFT_TEXT_DEADLINE_MS");
  if (!text) return DEADLINE_MS;
  const ms = Number(text);
  if (ms > 0) return ms;
  throw new UsageError(`GRAFT_TEXT_DEADLINE_MS must be > 0: current value is "${text}"`);
}

/** JavaScript values that work on a `tokenizer.json` of this size may hold. */
export function heapMegabytes(fileBytes: number): number {
  return Math.ceil(HEAP_MB + HEAP_PER_FILE_BYTE * fileBytes / 2 ** 20);
}

/** Memory of the process at most. */
export function memoryBytes(fileBytes: number): number {
  return (heapMegabytes(fileBytes) + BESIDE_HEAP_MB) * 2 ** 20;
}

/** A look at a process every tick, until disposed of. */
export interface Watch extends Disposable {
  /** Which limit it went beyond, if it did: it has been ended then. */
  readonly overrun: "time" | "memory" | undefined;
}

/**
 * Ends a process that goes beyond its limits. Its time is what it computes: beside other programs
 * the same work takes longer.
 */
export function watched(
  child: TextChild,
  { ms, memoryBytes }: { readonly ms: number; readonly memoryBytes: number },
): Watch {
  const began = child.use();
  let waitedMs = 0;
  let overrun: Watch["overrun"];
  const look = () => {
    waitedMs += TICK_MS;
    const now = child.use();
    // Where the kernel tells nothing, the clock is what there is.
    const computedMs = began === undefined || now === undefined
      ? waitedMs
      : now.computedMs - began.computedMs;
    if (now !== undefined && now.memoryBytes > memoryBytes) overrun = "memory";
    else if (Math.max(computedMs, waitedMs / PATIENCE) >= ms) overrun = "time";
    else return;
    clearInterval(timer);
    child[Symbol.dispose]();
  };
  const timer = setInterval(look, TICK_MS);
  return {
    get overrun() {
      return overrun;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
