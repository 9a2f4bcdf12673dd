/** Processor time of processes. */
import { readKernelFile } from "./kernel_files.ts";

/** The kernel reports time in hundredths of a second, on every Linux. */
const MS_PER_COUNT = 10;

/**
 * Processor time of all threads of a process since its start, in milliseconds, in steps of ten;
 * `undefined` if there is no such process.
 */
export function computedMs(pid: number): number | undefined {
  const line = readKernelFile(`/proc/${pid}/stat`);
  return line === undefined ? undefined : parseComputedMs(line);
}

/** Parses a line of `/proc/PID/stat`; the program's name in brackets may contain anything. */
export function parseComputedMs(line: string): number {
  const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc_pid_stat(5), user and kernel time; the first one here is field 3.
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_COUNT;
}
