/**
 * The LoRA paper's table 6 (Hu et al., 2021) on banking77 with the int8 MiniLM: accuracy on the test set
 * by rank, for one and for several matrices, over seeds. Prints a table for docs/methods.md, as Markdown,
 * and leaves each set's `result.json` and picture in the folder.
 *
 * usage: deno run -A scripts/figures/rank_table.ts [--ranks 1,2,4,8,64] [--seeds 3] [--iters 939]
 *   [--sets "q;q,v;attention;all-linear"] [--val-batches -1] [--shared ../shared] [--keep FOLDER]
 *   --keep keeps the trainings; those of an earlier call are used again
 *
 * Alpha is 16 at every rank: as in the paper, it is not tuned. Every training is whole; nothing is chosen by
 * the test set.
 */
import { parseArgs } from "@std/cli/parse-args";
import { join, resolve } from "@std/path";
import { formatCount } from "../../src/format.ts";
import { mean } from "../../src/statistics.ts";
import { exists, makeDirectory } from "../../src/system/durable_files.ts";
import { rankSearch } from "../../src/tasks/rank_search.ts";
import type { SearchedCandidate } from "../../src/tasks/rank_search/result.ts";
import { markdownTable } from "../markdown_table.ts";
import { sharedData, workload } from "./workloads.ts";

const flags = parseArgs(Deno.args, {
  string: ["ranks", "seeds", "iters", "sets", "shared", "keep", "val-batches"],
  default: {
    ...{ ranks: "1,2,4,8,64", seeds: "3", iters: "939", sets: "q;q,v;attention;all-linear" },
    ...{ shared: "../shared", "val-batches": "-1" },
  },
});
const sets: readonly string[] = flags.sets.split(";");
const ranks: readonly string[] = flags.ranks.split(",");
const folder = flags.keep ?? Deno.makeTempDirSync({ prefix: "graft-figures-" });
const { model, batch, learningRate } = workload(flags.shared, "banking77");
const { bankingTrain, bankingTest } = sharedData(flags.shared);
const data = join(folder, "data");
if (!exists(data)) {
  makeDirectory(data);
  Deno.symlinkSync(resolve(bankingTrain), join(data, "train.csv"));
  Deno.symlinkSync(resolve(bankingTest), join(data, "valid.csv"));
}

/** Trains all ranks of a set with all seeds, or looks them up. */
async function searched(set: string): Promise<readonly SearchedCandidate[]> {
  const savePath = join(folder, set.replaceAll(",", "-"));
  const { candidates } = await rankSearch({
    ...{ model, data, batchSize: batch, learningRate, savePath },
    ranks: ranks.map(Number),
    seeds: Number(flags.seeds),
    iters: Number(flags.iters),
    valBatches: Number(flags["val-batches"]),
    stepsPerEval: Number(flags.iters),
    targetModules: set.split(","),
    targetSets: [set],
    halving: false,
    loadBest: false,
    resume: exists(join(savePath, "trials.jsonl")),
  }, {
    onEvent(event) {
      if (event.kind === "trial ended") console.error(JSON.stringify(event.record));
      if (event.kind === "trial failed") console.error(JSON.stringify(event));
    },
  });
  return candidates;
}

function cell({ values, parameters }: SearchedCandidate): string {
  const center = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  const deviation = Math.sqrt(squares / (values.length - 1));
  return `${(100 * center).toFixed(1)} ± ${(100 * deviation).toFixed(1)} (${
    formatCount(parameters)
  })`;
}

const rows: (readonly string[])[] = [];
for (const set of sets) rows.push([set, ...(await searched(set)).map(cell)]);
console.log(
  `Accuracy in % (mean ± standard deviation of ${flags.seeds} seeds) after ${flags.iters} steps of ` +
    `${batch} rows; parameters of A and B in parentheses\n`,
);
console.log(markdownTable(["modules", ...ranks.map((rank) => `r = ${rank}`)], rows));
