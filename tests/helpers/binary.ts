/** Compiled graft in tests: the files that `deno task compile` made. */
import { assertEquals } from "@std/assert";
import type { GraftResult } from "./graft.ts";
import { toolMissing } from "./requirements.ts";

/** A compiled graft and what runs it. */
export interface Binary {
  readonly path: string;
  /** The words that start it. */
  readonly words: readonly string[];
  /** What it needs to start its own processes. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Where Debian's cross libraries for arm64 are. */
const ARM64_LIBRARIES = "/usr/aarch64-linux-gnu";
const QEMU = ["qemu-aarch64-static", "-L", ARM64_LIBRARIES];

/** A binary for this machine. */
export function native(path: string): Binary {
  const real = Deno.realPathSync(path);
  return { path: real, words: [real] };
}

/** An arm64 binary under qemu, or why it cannot run here. */
export function emulated(path: string): Binary | string {
  const missing = toolMissing(QEMU[0]);
  if (missing !== undefined) return missing;
  if (!isThere(`${ARM64_LIBRARIES}/lib/libstdc++.so.6`)) {
    return `${ARM64_LIBRARIES} has no libstdc++.so.6`;
  }
  const real = Deno.realPathSync(path);
  return { path: real, words: [...QEMU, real], env: { GRAFT_EMULATOR: QEMU.join(" ") } };
}

function named(variable: string, binaryAt: (path: string) => Binary | string): Binary | string {
  const path = Deno.env.get(variable);
  return path ? binaryAt(path) : `${variable} names no compiled graft`;
}

/** The binary that `GRAFT_BINARY` names, or why there is none. */
export const ownBinary = named("GRAFT_BINARY", native);

/** The arm64 binary that `GRAFT_BINARY_ARM64` names, under qemu, or why it cannot run here. */
export const arm64Binary = named("GRAFT_BINARY_ARM64", emulated);

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

export interface RunOptions {
  readonly cwd?: string;
  /** Words before the binary, of a program that starts it. */
  readonly under?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program with no variables but these, and waits for its end. */
export async function runAlone(
  words: readonly string[],
  { cwd, env = {} }: RunOptions,
): Promise<GraftResult> {
  const { code, stdout, stderr } = await new Deno.Command(words[0], {
    args: words.slice(1),
    cwd,
    stdin: "null",
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin", NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs a binary, which must do its work, and returns what it printed. */
export async function printed(
  binary: Binary,
  args: readonly string[],
  options: RunOptions,
): Promise<string> {
  const words = [...options.under ?? [], ...binary.words, ...args];
  const env = { ...binary.env, ...options.env };
  const { code, stdout, stderr } = await runAlone(words, { ...options, env });
  assertEquals(code, 0, stderr);
  return stdout;
}
