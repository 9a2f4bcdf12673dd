/**
 * Memory that training one long sequence takes, predicted and measured: SmolLM2 with adapters of rank 16
 * on all linear layers, one sequence of 1,024 and of 4,096 tokens, both numeric settings. Prints a JSON
 * line each, and ends with 1 where a prediction is off by more than 15%, or 4,096 tokens take 1.2 GB.
 *
 * usage: deno run -A scripts/figures/long_sequences.ts [--only 4096] [--numeric fast]
 *   [--memory-budget 1050M] [--shared ../shared]
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureTraining } from "../../tests/helpers/measured_training.ts";

const flags = parseArgs(Deno.args, {
  string: ["only", "numeric", "memory-budget", "shared"],
  default: { shared: "../shared" },
});
const budget = flags["memory-budget"];
/** Largest error of a prediction. */
const TOLERANCE = 0.15;
/** What the longest sequence stays below, in MB. */
const MOST_MB = 1200;
const LENGTHS = [1024, 4096];
/** Words of a row: tokens beyond the longest length. */
const WORDS = 6000;

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const data = `${folder}/rows.jsonl`;
const words = "the card that I ordered a week ago has not arrived yet so what can I do about it"
  .split(
    " ",
  );
const rows = Array.from({ length: 4 }, (_, row) =>
  JSON.stringify({
    text: Array.from({ length: WORDS }, (_, i) => words[(i * (row + 5) + (i >> 3)) % words.length])
      .join(" "),
  }));
Deno.writeTextFileSync(data, rows.join("\n") + "\n");

let passed = true;
for (const length of LENGTHS) {
  if (flags.only !== undefined && length !== Number(flags.only)) continue;
  for (const numeric of ["exact", "fast"]) {
    if (flags.numeric !== undefined && numeric !== flags.numeric) continue;
    const { predictedMb, measuredMb, notes } = await measureTraining([
      ...["--model", `${flags.shared}/models/smollm2-135m-instruct-int4`, "--data", data],
      ...["--rank", "16", "--target-modules", "all-linear", "--batch-size", "1", "--iters", "2"],
      ...["--max-seq-length", String(length), "--numeric", numeric],
      ...["--adapter-path", `${folder}/adapter`, "--overwrite"],
      ...(budget === undefined ? [] : ["--memory-budget", budget]),
    ]);
    const error = predictedMb / measuredMb - 1;
    passed &&= Math.abs(error) <= TOLERANCE &&
      (length < Math.max(...LENGTHS) || Math.max(predictedMb, measuredMb) < MOST_MB);
    const [, parts] = /at the peak \((.*?)\)/.exec(notes)!;
    console.log(JSON.stringify({ length, numeric, predictedMb, parts, measuredMb, error }));
  }
}
Deno.removeSync(folder, { recursive: true });
if (!passed) Deno.exit(1);
