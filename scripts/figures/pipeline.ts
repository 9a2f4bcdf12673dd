/**
 * The memory that each rank of a pipeline takes, beside what is predicted and beside one process. Prints a
 * JSON line for each, and ends with 1 where a prediction is off by more than 15%.
 *
 * usage: deno run -A scripts/figures/pipeline.ts [--model DIR] [--size 1.2B] [--stages 1,2]
 *   [--batch 8] [--length 256] [--steps 3] [--shared ../shared]
 *
 * `--size` makes a model with random weights (`scripts/large_model.py`) instead; GRAFT_PYTHON names a Python
 * with the packages `mpich`, and with what that script needs.
 */
import { parseArgs } from "@std/cli/parse-args";
import { processMemory } from "../../src/system/memory.ts";
import { LAUNCHERS, rankProcesses } from "../../tests/helpers/mpi_jobs.ts";
import { measureTraining, USERS_FLAGS } from "../../tests/helpers/measured_training.ts";
import { python } from "../../tests/helpers/requirements.ts";
import { run } from "./children.ts";
import { writeLongTexts } from "./long_texts.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "size", "stages", "batch", "length", "steps", "shared"],
  default: { stages: "1,2", batch: "8", length: "256", steps: "3", shared: "../shared" },
});
const TOLERANCE = 0.15;
const SMOLLM2 = `${flags.shared}/models/smollm2-135m-instruct-int4`;

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const model = flags.size === undefined ? flags.model ?? SMOLLM2 : `${folder}/model`;
if (flags.size !== undefined) {
  await run(python(), ["scripts/large_model.py", flags.size, SMOLLM2, model, "int4"]);
}
const data = `${folder}/texts.jsonl`;
writeLongTexts(flags.shared, data);
const args = [
  ...["--model", model, "--data", data, "--adapter-path", `${folder}/adapter`, "--overwrite"],
  ...["--batch-size", flags.batch, "--max-seq-length", flags.length, "--iters", flags.steps],
  ...["--threads", "1", "--collective-timeout", "600"],
];

let worst = 0;
for (const stages of flags.stages.split(",").map(Number)) {
  const ranks = stages === 1 ? [await measureTraining(args)] : await measureRanks(stages);
  for (const [rank, { predictedMb, measuredMb }] of ranks.entries()) {
    const ratio = predictedMb / measuredMb;
    worst = Math.max(worst, Math.abs(ratio - 1));
    console.log(JSON.stringify({ model, stages, rank, predictedMb, measuredMb, ratio }));
  }
}
Deno.removeSync(folder, { recursive: true });
console.log(JSON.stringify({ worst, tolerance: TOLERANCE }));
if (worst > TOLERANCE) Deno.exit(1);

async function measureRanks(stages: number) {
  const [{ program, args: launch, library }] = LAUNCHERS;
  const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
  const own = ["-n", String(stages), Deno.execPath(), "run", "-A", ...USERS_FLAGS, main, "train"];
  const child = new Deno.Command(program, {
    args: [...launch, ...own, ...args, "--pipeline", String(stages)],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1", GRAFT_MPI_LIB: library },
  }).spawn();
  const peaks: number[] = [];
  const timer = setInterval(() => {
    for (const [rank, pid] of rankProcesses(`${folder}/adapter`)) {
      // The kernel keeps a process's largest size.
      peaks[rank] = Math.max(peaks[rank] ?? 0, processMemory(pid)?.peakRssBytes ?? 0);
    }
  }, 100);
  const { code, stderr } = await child.output();
  clearInterval(timer);
  const notes = new TextDecoder().decode(stderr);
  if (code !== 0) throw new Error(`The job ended with ${code}: ${notes}`);
  const predicted = [...notes.matchAll(/([\d,]+) MB at rank (\d+)/g)];
  return predicted.map(([, megabytes, rank]) => ({
    predictedMb: Number(megabytes.replaceAll(",", "")),
    measuredMb: Math.round(peaks[Number(rank)] / 1e6),
  }));
}
