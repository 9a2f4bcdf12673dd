/**
 * The memory that training and merging of larger language models take, beside what is foretold; prints
 * a JSON line each, and ends with 1 where a prediction is off by more than 15%.
 *
 * usage: deno run -A scripts/figures/large.ts [--size 0.5B,1.2B] [--shared ../shared]
 *
 * GRAFT_PYTHON names a Python with what `scripts/large_model.py` needs.
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureTraining } from "../../tests/helpers/measured_training.ts";
import { python } from "../../tests/helpers/requirements.ts";
import { graft, run } from "./children.ts";
import { writeLongTexts } from "./long_texts.ts";

const flags = parseArgs(Deno.args, {
  string: ["size", "shared"],
  default: { size: "0.5B,1.2B", shared: "../shared" },
});
const TOLERANCE = 0.15;
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

let worst = 0;
for (const size of flags.size.split(",")) {
  const model = `${folder}/${size}`;
  const tokenizer = `${flags.shared}/models/smollm2-135m-instruct-int4`;
  await run(python(), ["scripts/large_model.py", size, tokenizer, model]);
  const fileMb = Math.round(
    JSON.parse((await graft("inspect", model, "--json")).stdout).sizeBytes / 1e6,
  );
  const common = ["--model", model, "--data", data, "--adapter-path", adapter];
  for (const how of RUNS) {
    const { predictedMb, measuredMb } = await measureTraining([
      ...[...common, ...how, "--iters", "3", "--overwrite"],
    ]);
    const ratio = predictedMb / measuredMb;
    worst = Math.max(worst, Math.abs(ratio - 1));
    console.log(
      JSON.stringify({ size, fileMb, train: how.join(" "), predictedMb, measuredMb, ratio }),
    );
  }
  const { peakMb, seconds } = await graft(
    ...["merge", ...common, "--save-path", `${folder}/merged`, "--method", "8bit", "--force"],
    ...["--val-batches", "4", "--no-latency"],
  );
  console.log(
    JSON.stringify({
      size,
      fileMb,
      merge: "8bit",
      measuredMb: Math.round(peakMb * 2 ** 20 / 1e6),
      seconds,
    }),
  );
  Deno.removeSync(model, { recursive: true });
}
console.log(JSON.stringify({ worst, tolerance: TOLERANCE }));
Deno.removeSync(folder, { recursive: true });
if (worst > TOLERANCE) Deno.exit(1);
