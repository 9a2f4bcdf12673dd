/**
 * The memory that `graft train` predicts beside the memory that it takes, in configurations drawn at
 * random (`memory_configurations.ts`): model, layers, sizes, data, arithmetic, optimiser. Prints the
 * seed and a JSON line each, and ends with 1 where one is off by more than 15%. They train LoRA, or
 * with `--methods` all others in turn.
 *
 * usage: deno run -A scripts/figures/memory.ts [--methods] [--seed N] [--count 20] [--only I,J]
 *   [--shared ../shared]
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureTraining } from "../../tests/helpers/measured_training.ts";
import { drawConfigurations } from "./memory_configurations.ts";

const flags = parseArgs(Deno.args, {
  string: ["seed", "count", "only", "shared"],
  boolean: ["methods"],
  default: { count: "20", shared: "../shared" },
});
/** Largest error of a prediction. */
const TOLERANCE = 0.15;

const seed = Number(flags.seed ?? crypto.getRandomValues(new Uint16Array(1))[0]);
console.log(JSON.stringify({ seed }));
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const places = { shared: flags.shared, folder };
const drawn = drawConfigurations(seed, Number(flags.count), places, flags.methods);
const only = flags.only?.split(",").map(Number);
const errors: number[] = [];
for (const [number, { model, how, args }] of drawn.entries()) {
  if (only !== undefined && !only.includes(number)) continue;
  const { predictedMb, measuredMb } = await measureTraining([
    ...args,
    ...["--adapter-path", `${folder}/adapter`, "--overwrite"],
  ]);
  const error = predictedMb / measuredMb - 1;
  errors.push(Math.abs(error));
  console.log(JSON.stringify({ number, model, ...how, predictedMb, measuredMb, error }));
}
const worst = Math.max(...errors);
console.log(JSON.stringify({ seed, runs: errors.length, worst, tolerance: TOLERANCE }));
Deno.removeSync(folder, { recursive: true });
if (worst > TOLERANCE) Deno.exit(1);
