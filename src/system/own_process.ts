/** Starts this program again, as it was started: processes of their own for what must be apart. */
export { endWithParent } from "../../ffi/libc_process.ts";
import { UsageError } from "../errors.ts";
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
 * A command as this machine can start it: behind the words of `GRAFT_EMULATOR`, such as
 * `qemu-aarch64-static -L /usr/aarch64-linux-gnu`, where another program emulates graft's processor
 * and the kernel cannot start graft by itself.
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
 * @param stderr where its notes go; default to this process's
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

/** Where the main module of the compiled `graft` lies. */
const MAIN = "/src/cli/main.ts";

/** A part of graft that runs in a process of its own and is no verb. */
export interface OwnModule {
  /** The module that is its main one, run by Deno from the source. */
  readonly url: URL;
  /** The first argument by which the compiled `graft` knows it (src/cli/main.ts). */
  readonly name: string;
  /** Flags of Deno, from the source: its permissions, V8's flags. The compiled program has its own. */
  readonly denoFlags: readonly string[];
}

/**
 * Starts one of graft's own modules as a process. Its standard input and output are piped, what it
 * says beside them is thrown away.
 *
 * @throws {UsageError} in a compiled program that is not `graft`, which does not know the module
 * @throws {Error} where the system cannot start it
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
