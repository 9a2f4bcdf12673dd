/** Starts this program again, in the way it was started, for work that needs a separate process. */
export { endWithParent } from "../../ffi/libc_process.ts";
import { UsageError } from "../errors.ts";
import { readKernelFile } from "./kernel_files.ts";

/** The command line of this process: the program as it was named, then its arguments. */
export function calledAs(): readonly string[] {
  return (readKernelFile("/proc/self/cmdline") ?? "").split("\0").slice(0, -1);
}

/** The command line of this process without graft's own arguments. */
function ownCommand(): readonly string[] {
  const words = calledAs();
  // `deno run FLAGS main.ts ARGUMENTS`, or the compiled program's name and its arguments.
  return [Deno.execPath(), ...words.slice(1, words.length - Deno.args.length)];
}

/**
 * A command that this machine can start: prefixed with `GRAFT_EMULATOR`, such as `qemu-aarch64-static -L
 * /usr/aarch64-linux-gnu`, if another program emulates graft's processor and the kernel cannot start
 * graft by itself.
 */
function startable(words: readonly string[]): readonly [string, string[]] {
  const emulator = (Deno.env.get("GRAFT_EMULATOR") ?? "").split(" ").filter((word) => word !== "");
  const [program, ...args] = [...emulator, ...words];
  return [program, args];
}

/**
 * Starts `graft` with other arguments, from the same program, with the same flags of Deno.
 * Its standard output is piped.
 *
 * @param stderr target of its notes; default: this process's standard error
 */
export function startSelf(
  args: readonly string[],
  stderr: "inherit" | "null" | "piped" = "inherit",
): Deno.ChildProcess {
  const [program, words] = startable([...ownCommand(), ...args]);
  return new Deno.Command(program, {
    args: words,
    stdin: "null",
    stdout: "piped",
    stderr,
  }).spawn();
}

/** Path of the main module of the compiled `graft`. */
const MAIN = "/src/cli/main.ts";

/** A part of graft that runs in a separate process and is not a verb. */
export interface OwnModule {
  /** Its main module, run by Deno from the source. */
  readonly url: URL;
  /** The first argument that selects it in the compiled `graft` (src/cli/main.ts). */
  readonly name: string;
  /** Flags of Deno, from the source: its permissions, V8's flags. The compiled program has its own. */
  readonly denoFlags: readonly string[];
}

/**
 * Starts one of graft's own modules as a process. Its standard input and output are piped, its standard
 * error is discarded.
 *
 * @throws {UsageError} in a compiled program that is not `graft`, which does not have the module
 * @throws {Error} if the system cannot start it
 */
export function startModule({ url, name, denoFlags }: OwnModule): Deno.ChildProcess {
  if (Deno.build.standalone && !Deno.mainModule.endsWith(MAIN)) {
    throw new UsageError(
      "A compiled program other than graft cannot start graft's own processes: run it with `deno run`",
    );
  }
  const words = Deno.build.standalone
    ? [name]
    : ["run", "--quiet", "--no-prompt", ...denoFlags, url.href];
  const [program, args] = startable([Deno.execPath(), ...words]);
  return new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
}
