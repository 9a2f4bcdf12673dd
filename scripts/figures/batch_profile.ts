/**
 * What shared runs of a language model cost: milliseconds of a run that reads one token of 1, 2, 4 … texts,
 * and of the operators in it (ONNX Runtime's profile); and milliseconds of a prompt's first token. Prints a
 * JSON line for each, medians.
 *
 * usage: deno run -A scripts/figures/batch_profile.ts [--model DIR] [--rows 1,2,4,8] [--steps 60]
 *   [--prompt 33]
 */
import { parseArgs } from "@std/cli/parse-args";
import { openModel } from "../../src/model/open_model.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { BatchReader } from "../../src/serve/batch_reader.ts";
import { pairCaches } from "../../src/serve/cache_pairs.ts";
import { withChosenLogits } from "../../src/serve/last_logits.ts";
import { median } from "../../src/statistics.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "rows", "steps", "prompt"],
  default: {
    model: "../shared/models/smollm2-135m-instruct-int4",
    rows: "1,2,4,8",
    steps: "60",
    prompt: "33",
  },
});
const numbers: readonly number[] = flags.rows.split(",").map(Number);
const [steps, promptTokens] = [flags.steps, flags.prompt].map(Number);
/** Runs before those that count. */
const WARM_UP = 5;
const LISTED_OPERATORS = 6;

using opened = await openModel(flags.model);
using runner = createOrtRunner({});
const chosen = withChosenLogits(opened.model);
const { graph } = chosen;
const pairs = pairCaches(graph);

/** Opens a reader with room for all tokens, and gives it to `use`. */
async function withReader<T>(
  rows: number,
  profilePrefix: string | undefined,
  use: (reader: BatchReader) => Promise<T>,
): Promise<{ readonly result: T; readonly profile?: string }> {
  using executable = await runner.compile(chosen, { profilePrefix });
  using reader = new BatchReader({ runner, executable, graph, pairs }, rows);
  reader.reserve(WARM_UP + steps + promptTokens, Array(rows).fill(0));
  const result = await use(reader);
  return { result, profile: profilePrefix && executable.endProfiling().path };
}

/** Milliseconds of each run that reads `fresh` tokens of each row. */
async function runs(
  reader: BatchReader,
  rows: number,
  fresh: number,
  startOf: (i: number) => number,
) {
  const all: number[] = [];
  for (let i = 0; i < WARM_UP + steps; i++) {
    const texts = Array.from({ length: rows }, (_, row) => ({
      fresh: Array.from({ length: fresh }, (_, t) => 100 + (i * 7919 + row * 131 + t) % 40_000),
      start: startOf(i),
    }));
    const begin = performance.now();
    await reader.read(0, texts);
    if (i >= WARM_UP) all.push(performance.now() - begin);
  }
  return median(all);
}

interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args: { readonly op_name?: string };
}

/** Milliseconds of each operator in a run, the longest first. */
function operatorsOf(path: string): Readonly<Record<string, number>> {
  const events: readonly ProfileEvent[] = JSON.parse(Deno.readTextFileSync(path));
  const byOperator = new Map<string, number>();
  for (const { cat, name, dur, args } of events) {
    if (cat !== "Node" || !name.endsWith("_kernel_time") || args.op_name === undefined) continue;
    byOperator.set(args.op_name, (byOperator.get(args.op_name) ?? 0) + dur);
  }
  const longest = [...byOperator].sort((a, b) => b[1] - a[1]).slice(0, LISTED_OPERATORS);
  return Object.fromEntries(
    longest.map(([name, us]) => [name, rounded(us / 1000 / (WARM_UP + steps))]),
  );
}

const rounded = (ms: number) => Number(ms.toFixed(2));
const next = (i: number) => i;

const folder = Deno.makeTempDirSync();
try {
  for (const rows of numbers) {
    const { result: runMs } = await withReader(rows, undefined, (r) => runs(r, rows, 1, next));
    const { profile } = await withReader(rows, `${folder}/${rows}`, (r) => runs(r, rows, 1, next));
    const operatorMs = operatorsOf(profile!);
    console.log(JSON.stringify({ rows, runMs: rounded(runMs), operatorMs }));
  }
  const { result } = await withReader(1, undefined, (r) => runs(r, 1, promptTokens, () => 0));
  console.log(JSON.stringify({ promptTokens, promptMs: rounded(result) }));
} finally {
  Deno.removeSync(folder, { recursive: true });
}
