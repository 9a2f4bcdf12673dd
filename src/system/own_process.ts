/** Starts this program again, as it was started: a process of its own for what must be measured apart. */

import { readKernelFile } from "./kernel_files.ts";

/** The words that began this process: the program as it was named, then its arguments. */
export function calledAs(): readonly string[] {
  return (readKernelFile("/proc/self/cmdline") ?? "").split("\0").slice(0, -1);
}

/** The words that began this process, up to its own arguments. */
function ownCommand(): readonly string[] {
  const words = calledAs();
  // `deno run FLAGS main.ts ARGUMENTS`, or the compiled program's name and its arguments.
  return [Deno.execPath(), ...words.slice(1, words.length - Deno.args.length)];
}

/**
 * Starts `graft` with other arguments, from the same program, with the same flags of Deno.
 * Its standard output is piped.
 *
 * @param stderr where its notes go; default to this process's
 */
export function startSelf(
  args: readonly string[],
  stderr: "inherit" | "null" | "piped" = "inherit",
): Deno.ChildProcess {
  const [program, ...before] = ownCommand();
  return new Deno.Command(program, {
    args: [...before, ...args],
    stdin: "null",
    stdout: "piped",
    stderr,
  }).spawn();
}
