/** Limits of a text process's time and memory. */
import { UsageError } from "../errors.ts";
import type { TextChild } from "./guard_child.ts";

/** Enough for a small call on a slow core, and still under two seconds. */
const DEADLINE_MS = 1500;

/** Additional time by size of the input: several times the time of a slow core. */
const MS_PER_CHARACTER = 0.004;
const MS_PER_FILE_BYTE = 0.001;

/**
 * Heap: the longest rows take some 100 bytes per character; tables eleven times the file's size, and
 * four times that while they are built.
 */
const HEAP_MB = 192;
const HEAP_PER_FILE_BYTE = 64;

/** Memory besides the heap: Deno's own, messages, typed arrays. */
const BESIDE_HEAP_MB = 96;

/** Waiting is counted in ticks of this thread, so that a suspended machine costs nothing. */
const TICK_MS = 25;
/** Multiple of the deadline in real time after which work ends, however little processor time it got. */
const PATIENCE = 20;

/** Deadline of a call, by the size of its input; `own` replaces the usual fixed part. */
export function deadlineMs(
  own: number | undefined,
  { characters = 0, fileBytes = 0 }: { readonly characters?: number; readonly fileBytes?: number },
): number {
  const usual = usualDeadlineMs();
  const extraMs = characters * MS_PER_CHARACTER + fileBytes * MS_PER_FILE_BYTE;
  // A machine that needs a longer deadline needs it for long texts as well.
  return (own ?? usual) + extraMs * Math.max(1, usual / DEADLINE_MS);
}

/** The deadline from the environment, for very slow machines such as emulated ones. */
function usualDeadlineMs(): number {
  const text = Deno.env.get("GRAFT_TEXT_DEADLINE_MS");
  if (!text) return DEADLINE_MS;
  const ms = Number(text);
  if (ms > 0) return ms;
  throw new UsageError(`GRAFT_TEXT_DEADLINE_MS must be > 0: current value is "${text}"`);
}

/** Limit of JavaScript's heap for a `tokenizer.json` of this size, in MB. */
export function heapMegabytes(fileBytes: number): number {
  return Math.ceil(HEAP_MB + HEAP_PER_FILE_BYTE * fileBytes / 2 ** 20);
}

/** Limit of the process's memory. */
export function memoryBytes(fileBytes: number): number {
  return (heapMegabytes(fileBytes) + BESIDE_HEAP_MB) * 2 ** 20;
}

/** Checks a process every tick, until disposed of. */
export interface Watch extends Disposable {
  /** The exceeded limit, if any; the process has been ended then. */
  readonly overrun: "time" | "memory" | undefined;
}

/**
 * Ends a process that exceeds its limits. Its time is processor time, because the same work takes longer in
 * real time when other programs run.
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
    // Real time, if the kernel does not report processor time.
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
