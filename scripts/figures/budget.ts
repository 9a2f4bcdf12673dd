/**
 * What kept activations give: tokens per second and peak memory, predicted and taken, over budgets, on
 * the first rows of e2e in both settings and of banking77. Budgets take turns, so that a machine that
 * slows down slows all of them. Prints a JSON line each.
 *
 * usage: deno run -A scripts/figures/budget.ts [--shared ../shared] [--rounds 1] [--iters 16]
 */
import { parseArgs } from "@std/cli/parse-args";
import { measureTraining } from "../../tests/helpers/measured_training.ts";
import { tokensPerSecond } from "./children.ts";
import { workload } from "./workloads.ts";

const flags = parseArgs(Deno.args, {
  string: ["shared", "rounds", "iters"],
  default: { shared: "../shared", rounds: "1", iters: "16" },
});

/** How much is kept: the least, the default, budgets of the whole run between, all. */
const BUDGETS: Readonly<Record<string, readonly string[]>> = {
  "recomputing all": ["--grad-checkpoint"],
  "default": [],
  "600M": ["--memory-budget", "600M"],
  "678M": ["--memory-budget", "678M"],
  "800M": ["--memory-budget", "800M"],
  "keeping all": ["--no-grad-checkpoint"],
};

const folder = Deno.makeTempDirSync({ prefix: "graft-budget-" });
const RUNS = [["e2e.qv", "fast"], ["e2e.qv", "exact"], ["banking77", "fast"]];
for (let round = 0; round < Number(flags.rounds); round++) {
  for (const [name, numeric] of RUNS) {
    for (const [budget, how] of Object.entries(BUDGETS)) {
      const adapter = `${folder}/adapter`;
      const { graft } = workload(flags.shared, name);
      const epochs = graft.indexOf("--epochs");
      const { predictedMb, measuredMb } = await measureTraining([
        ...graft.toSpliced(epochs, 2),
        ...["--iters", flags.iters, "--numeric", numeric, ...how],
        ...["--adapter-path", adapter, "--overwrite"],
      ]);
      const speed = Math.round(tokensPerSecond(`${adapter}/metrics.jsonl`));
      console.log(JSON.stringify({
        ...{ round, workload: name, numeric, budget },
        ...{ tokensPerSecond: speed, predictedMb, measuredMb },
      }));
    }
  }
}
Deno.removeSync(folder, { recursive: true });
