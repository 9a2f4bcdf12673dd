/**
 * Speed and memory of training beside PEFT on one machine, alternately; prints a JSON line a run and
 * the ratios of medians.
 *
 * usage: deno run -A scripts/figures/beside_peft.ts WORKLOAD [--rounds 3] [--shared ../shared]
 *   [--python .venv/bin/python] [--dtype float32] [--limit ROWS]
 * WORKLOAD: e2e.qv, e2e.all, banking77
 */
import { parseArgs } from "@std/cli/parse-args";
import { graft, median, run, tokensPerSecond } from "./children.ts";
import { workload } from "./workloads.ts";

const flags = parseArgs(Deno.args, {
  string: ["shared", "python", "dtype", "limit"],
  default: { rounds: 3, shared: "../shared", python: ".venv/bin/python", dtype: "float32" },
});
const { name, graft: ours, peft: theirs } = workload(flags.shared, String(flags._[0]));
const batchSize = Number(ours[ours.indexOf("--batch-size") + 1]);
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });

interface Run {
  readonly tokensPerSecond: number;
  readonly peakMb: number;
}

async function runGraft(): Promise<Run> {
  const limit = flags.limit === undefined
    ? []
    : ["--iters", String(Math.ceil(Number(flags.limit) / batchSize))];
  const args = limit.length === 0 ? ours : withoutEpochs(ours);
  const { peakMb } = await graft(
    "train",
    ...args,
    ...limit,
    "--adapter-path",
    folder,
    "--overwrite",
  );
  return { tokensPerSecond: tokensPerSecond(`${folder}/metrics.jsonl`), peakMb };
}

function withoutEpochs(args: readonly string[]): readonly string[] {
  const at = args.indexOf("--epochs");
  return [...args.slice(0, at), ...args.slice(at + 2)];
}

async function runPeft(): Promise<Run> {
  const limit = flags.limit === undefined ? [] : ["--limit", flags.limit];
  const { stdout, peakMb } = await run(flags.python, [
    `${flags.shared}/bench/peft_train.py`,
    ...theirs,
    "--dtype",
    flags.dtype,
    ...limit,
  ]);
  const result = JSON.parse(stdout.trim().split("\n").at(-1)!);
  return { tokensPerSecond: result.tokens_per_s, peakMb };
}

const runs: Record<"graft" | "peft", Run[]> = { graft: [], peft: [] };
for (let round = 0; round < Number(flags.rounds); round++) {
  for (const [who, start] of [["graft", runGraft], ["peft", runPeft]] as const) {
    const found = await start();
    runs[who].push(found);
    console.log(JSON.stringify({ workload: name, who, round, ...found }));
  }
}
const ratio = (what: keyof Run) =>
  median(runs.graft.map((r) => r[what])) / median(runs.peft.map((r) => r[what]));
console.log(JSON.stringify({
  workload: name,
  peer: `PEFT ${flags.dtype}`,
  rounds: Number(flags.rounds),
  speedRatio: ratio("tokensPerSecond"),
  memoryRatio: ratio("peakMb"),
}));
Deno.removeSync(folder, { recursive: true });
