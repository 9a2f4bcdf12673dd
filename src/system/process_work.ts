/** How much a process has computed. */
import { readKernelFile } from "./kernel_files.ts";

/** The kernel counts time for its readers in hundredths of a second, on every Linux. */
const MS_PER_COUNT = 10;

/**
 * Milliseconds that all threads of a process have computed since it began, in steps of ten;
 * `undefined` where there is no such process.
 */
export function computedMs(pid: number): number | undefined {
  const line = readKernelFile(`/proc/${pid}/stat`);
  return line === undefined ? undefined : parseComputedMs(line);
}

/** Reads a line of `/proc/PID/stat`; the program's name in brackets may hold anything. */
export function parseComputedMs(line: string): number {
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc_pid_stat(5), in its own mode and the kernel's; the first here is field 3.
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_COUNT;
}
