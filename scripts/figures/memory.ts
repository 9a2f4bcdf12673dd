/**
 * The memory that `graft train` predicts beside the memory that it takes, in six configurations of
 * each of the two real models; prints a JSON line each, and ends with 1 where one is off by more than
 * 15%.
 *
 * usage: deno run -A scripts/figures/memory.ts [--model smollm2|minilm] [--shared ../shared]
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureTraining } from "../../tests/helpers/measured_training.ts";
import { longTexts, writeLongTexts } from "./long_texts.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "shared"],
  default: { shared: "../shared" },
});
/** Largest error of a prediction. */
const TOLERANCE = 0.15;
/** Steps where all rows are alike, and of real data, whose largest batches are some way off. */
const STEPS = { alike: "3", real: "40" };

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });

const causal = `${folder}/texts.jsonl`;
writeLongTexts(flags.shared, causal);
const classes = `${folder}/classes.csv`;
Deno.writeTextFileSync(
  classes,
  "text,label\n" +
    longTexts(`${flags.shared}/data/banking77/train.csv`, (line) => line.replaceAll('"', ""))
      .map((text, i) => `"${text}",class ${i % 8}\n`).join(""),
);

const size = (batch: number, length: number) => [
  ...["--batch-size", String(batch), "--max-seq-length", String(length)],
];
const all = ["--target-modules", "all-linear", "--rank", "32"];
const recompute = "--grad-checkpoint";
const keep = "--no-grad-checkpoint";
const smollm2 = ["--model", `${flags.shared}/models/smollm2-135m-instruct-int4`];
const minilm = [
  ...["--model", `${flags.shared}/models/all-minilm-l6-v2-int8`],
  ...["--target-modules", "query,value"],
];
const CONFIGURATIONS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  smollm2: [
    [...smollm2, "--data", causal, ...size(1, 64), recompute],
    [...smollm2, "--data", causal, ...size(4, 128), recompute, "--numeric", "fast"],
    [...smollm2, "--data", causal, ...size(2, 256), keep],
    [...smollm2, "--data", causal, ...size(4, 256), "--memory-budget", "800M"],
    [...smollm2, "--data", causal, ...size(2, 128), keep, ...all],
    [...smollm2, "--data", `${flags.shared}/data/e2e/bench512.jsonl`, ...size(8, 96)],
  ],
  minilm: [
    [...minilm, "--data", classes, ...size(4, 64), recompute],
    [...minilm, "--data", classes, ...size(32, 64), keep, "--numeric", "fast"],
    [...minilm, "--data", classes, ...size(16, 256), recompute],
    [...minilm, "--data", classes, ...size(16, 256), "--memory-budget", "600M"],
    [...minilm, "--data", classes, ...size(8, 128), keep, ...all],
    [...minilm, "--data", `${flags.shared}/data/banking77/train.csv`, ...size(32, 16)],
  ],
};

let worst = 0;
for (const [name, configurations] of Object.entries(CONFIGURATIONS)) {
  if (flags.model !== undefined && flags.model !== name) continue;
  for (const configuration of configurations) {
    const steps = configuration.some((word) => word.startsWith(`${flags.shared}/data/`))
      ? STEPS.real
      : STEPS.alike;
    const { predictedMb, measuredMb } = await measureTraining([
      ...configuration,
      ...["--iters", steps, "--adapter-path", `${folder}/adapter`, "--overwrite"],
    ]);
    const ratio = predictedMb / measuredMb;
    worst = Math.max(worst, Math.abs(ratio - 1));
    const how = configuration.slice(4).join(" ").replace(`${folder}/`, "");
    console.log(JSON.stringify({ model: name, how, predictedMb, measuredMb, ratio }));
  }
}
console.log(JSON.stringify({ worst, tolerance: TOLERANCE }));
Deno.removeSync(folder, { recursive: true });
if (worst > TOLERANCE) Deno.exit(1);
