/**
 * The memory that training, merging and quantising of larger language models take, for training beside
 * what is predicted; prints a JSON line each, and ends with 1 where a prediction is off by more than 15%.
 *
 * usage: deno run -A scripts/figures/large.ts [--size 0.5B,1.2B] [--what train,merge,quantize]
 *   [--shared ../shared]
 *
 * GRAFT_PYTHON names a Python with what `scripts/large_model.py` needs.
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureTraining } from "../../tests/helpers/measured_training.ts";
import { python } from "../../tests/helpers/requirements.ts";
import { graft, run } from "./children.ts";
import { writeLongTexts } from "./long_texts.ts";

const flags = parseArgs(Deno.args, {
  string: ["size", "what", "shared"],
  default: { size: "0.5B,1.2B", what: "train,merge,quantize", shared: "../shared" },
});
const TOLERANCE = 0.15;
const STEPS = ["--iters", "3", "--overwrite"];
const SMALLEST = ["--batch-size", "1", "--max-seq-length", "64", "--grad-checkpoint"];
const BATCH = ["--batch-size", "4", "--max-seq-length", "128"];
const RUNS = [
  SMALLEST,
  BATCH,
  [...BATCH, "--numeric", "fast", "--grad-checkpoint"],
  [...BATCH, "--numeric", "fast"],
];

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const data = `${folder}/texts.jsonl`;
const adapter = `${folder}/adapter`;
writeLongTexts(flags.shared, data);
const what = flags.what.split(",");

let worst = 0;
for (const size of flags.size.split(",")) {
  if (what.includes("train") || what.includes("merge")) {
    const int4 = await make(size, "int4");
    if (what.includes("train")) { for (const how of RUNS) await train(size, int4, how); }
    if (what.includes("merge")) await merge(size, int4);
    Deno.removeSync(int4, { recursive: true });
  }
  if (what.includes("quantize")) {
    const floats = await make(size, "fp32");
    const to = ["--save-path", `${folder}/quantized`, "--force"];
    print(size, { quantize: 4, ...await taken("quantize", floats, ...to) });
    Deno.removeSync(floats, { recursive: true });
  }
}
print("all", { worst, tolerance: TOLERANCE });
Deno.removeSync(folder, { recursive: true });
if (worst > TOLERANCE) Deno.exit(1);

function print(size: string, found: object): void {
  console.log(JSON.stringify({ size, ...found }));
}

/** Folder of a new model. */
async function make(size: string, precision: "int4" | "fp32"): Promise<string> {
  const model = `${folder}/${size}-${precision}`;
  const tokenizer = `${flags.shared}/models/smollm2-135m-instruct-int4`;
  await run(python(), ["scripts/large_model.py", size, tokenizer, model, precision]);
  const { stdout } = await graft("inspect", model, "--json");
  print(size, { precision, fileMb: Math.round(JSON.parse(stdout).sizeBytes / 1e6) });
  return model;
}

async function train(size: string, model: string, how: readonly string[]): Promise<void> {
  const { predictedMb, measuredMb } = await measureTraining([...of(model), ...how, ...STEPS]);
  const ratio = predictedMb / measuredMb;
  worst = Math.max(worst, Math.abs(ratio - 1));
  print(size, { train: how.join(" "), predictedMb, measuredMb, ratio });
}

async function merge(size: string, model: string): Promise<void> {
  await graft("train", ...of(model), ...BATCH, ...STEPS);
  const how = ["--method", "8bit", "--val-batches", "4", "--no-latency", "--force"];
  const found = await taken("merge", ...of(model), ...how, "--save-path", `${folder}/merged`);
  print(size, { merge: "8bit", ...found });
}

const of = (model: string) => ["--model", model, "--data", data, "--adapter-path", adapter];

async function taken(...args: readonly string[]) {
  const { peakMb, seconds } = await graft(...args);
  return { measuredMb: Math.round(peakMb * 2 ** 20 / 1e6), seconds: Math.round(seconds) };
}
