/** Runs graft and its peer as children, and watches the memory of all their processes. */
import { watchTree } from "../../src/system/memory.ts";
import { USERS_FLAGS } from "../../tests/helpers/measured_training.ts";

export interface ChildResult {
  readonly stdout: string;
  /** Largest resident memory over the child's process tree, in MB. */
  readonly peakMb: number;
  readonly seconds: number;
}

const ROOT = new URL("../../", import.meta.url).pathname;

/**
 * Runs a command to its end; what it writes to stderr passes through.
 *
 * @param signal ends it
 * @throws {Error} where it fails
 */
export async function run(
  command: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<ChildResult> {
  const start = performance.now();
  const child = new Deno.Command(command, {
    args: [...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
    signal,
  }).spawn();
  using watch = watchTree(child.pid);
  const { code, stdout } = await child.output();
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}`);
  return {
    stdout: new TextDecoder().decode(stdout),
    peakMb: Math.round(watch.peakBytes / 2 ** 20),
    seconds: (performance.now() - start) / 1000,
  };
}

/** Runs a verb of graft from this checkout, with the flags of `deno task graft`. */
export function graft(...args: readonly string[]): Promise<ChildResult> {
  return graftOf(ROOT, ...args);
}

/** The same from the checkout in a folder, which ends in a slash. */
export function graftOf(root: string, ...args: readonly string[]): Promise<ChildResult> {
  return run(Deno.execPath(), ["run", "-A", ...USERS_FLAGS, `${root}src/cli/main.ts`, ...args]);
}

/** Tokens per second of a run's steps but the first two, from its `metrics.jsonl` with a line a step. */
export function tokensPerSecond(metricsFile: string): number {
  const lines = Deno.readTextFileSync(metricsFile).trim().split("\n").map((l) => JSON.parse(l))
    .filter((line) => line.tokens_per_second !== undefined);
  let tokens = 0;
  let seconds = 0;
  for (let i = 2; i < lines.length; i++) {
    const took = lines[i].seconds - lines[i - 1].seconds;
    tokens += lines[i].tokens_per_second * took;
    seconds += took;
  }
  return tokens / seconds;
}
