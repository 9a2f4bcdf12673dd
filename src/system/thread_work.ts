/** How much one thread of this process has computed, and whether it is at work. */
import { readKernelFile } from "./kernel_files.ts";

/** The kernel counts a thread's time for its readers in hundredths of a second, on every Linux. */
const MS_PER_COUNT = 10;

export interface ThreadWork {
  /** Milliseconds that it has computed since it began, in steps of ten. */
  readonly computedMs: number;
  /** It waits for something other than a processor or a disk. */
  readonly asleep: boolean;
}

/** The kernel's number of the thread that calls, where the kernel tells. */
export function ownThread(): number | undefined {
  const [number] = /^\d+/.exec(readKernelFile("/proc/thread-self/stat") ?? "") ?? [];
  return number === undefined ? undefined : Number(number);
}

/** What a thread of this process has done; `undefined` once it is gone. */
export function threadWork(thread: number): ThreadWork | undefined {
  const line = readKernelFile(`/proc/self/task/${thread}/stat`);
  return line === undefined ? undefined : parseThreadStat(line);
}

/** A line of `/proc/PID/task/TID/stat`; the thread's name in brackets may hold anything. */
export function parseThreadStat(line: string): ThreadWork {
  const [state, ...counts] = line.slice(line.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc_pid_stat(5), in its own mode and the kernel's; the state is field 3.
  const [own, kernel] = [counts[10], counts[11]].map(Number);
  return { computedMs: (own + kernel) * MS_PER_COUNT, asleep: state === "S" };
}
