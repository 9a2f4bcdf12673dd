/** Trains through the command line and compares the memory it predicted with what it took. */
import { processMemory, watchTree } from "../../src/system/memory.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Deno's flags of `deno task graft`: the young heap's size counts. */
export const USERS_FLAGS = [
  "--no-check",
  "--v8-flags=--max-semi-space-size=4,--heap-growing-percent=25",
];

/** In MB, powers of ten. */
export interface MeasuredTraining {
  readonly predictedMb: number;
  /** Largest resident size over the process tree. */
  readonly measuredMb: number;
  /** What the run wrote to standard error. */
  readonly notes: string;
}

/**
 * @param args of `graft train`
 * @throws {Error} where the run fails, or predicts nothing
 */
export async function measureTraining(args: readonly string[]): Promise<MeasuredTraining> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...USERS_FLAGS, `${ROOT}src/cli/main.ts`, "train", ...args],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  // The kernel keeps a process's largest size; the watch adds what children have.
  using tree = watchTree(child.pid, 100);
  let highWater = 0;
  const timer = setInterval(() => {
    highWater = Math.max(highWater, processMemory(child.pid)?.peakRssBytes ?? 0);
  }, 100);
  const { code, stderr } = await child.output();
  clearInterval(timer);
  const notes = new TextDecoder().decode(stderr);
  if (code !== 0) throw new Error(`graft train ${args.join(" ")} ended with ${code}: ${notes}`);
  return {
    predictedMb: predictedMbIn(notes),
    measuredMb: Math.round(Math.max(highWater, tree.peakBytes) / 1e6),
    notes,
  };
}

/**
 * The memory that a run predicted, in MB, in what it wrote to standard error.
 *
 * @throws {Error} where it predicted nothing
 */
export function predictedMbIn(notes: string): number {
  const [, predicted] = /Memory: about ([\d,]+) MB/.exec(notes) ?? [];
  if (predicted === undefined) throw new Error(`Nothing was predicted: ${notes}`);
  return Number(predicted.replaceAll(",", ""));
}
