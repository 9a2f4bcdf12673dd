/**
 * Section 7 of the LoRA paper (Hu et al., 2021) on one of the workloads: adapters of ranks 4, 8 and 64 and
 * of two seeds are trained, and `graft analyze` compares them. Prints three tables for docs/methods.md: the
 * similarity of the subspaces of rank 8 and rank 64 (figure 3) and of two seeds of rank 64 (figure 4), and
 * the amplification (table 7); leaves the reports, with heat maps, in the folder.
 *
 * usage: deno run -A scripts/figures/subspaces.ts [banking77|e2e.qv] [--iters 100] [--shared ../shared]
 *   [--keep FOLDER]
 *   --keep keeps adapters and reports; adapters of an earlier call are used again
 */
import { parseArgs } from "@std/cli/parse-args";
import { join } from "@std/path";
import { mean } from "../../src/statistics.ts";
import { exists } from "../../src/system/durable_files.ts";
import { markdownTable } from "../markdown_table.ts";
import { graft } from "./children.ts";
import { workload } from "./workloads.ts";

const flags = parseArgs(Deno.args, {
  string: ["iters", "shared", "keep"],
  default: { iters: "100", shared: "../shared" },
});
const { graft: given, model } = workload(flags.shared, String(flags._[0] ?? "banking77"));
// Steps are counted in `--iters` here.
const epochs = given.indexOf("--epochs");
const train = given.toSpliced(epochs, 2);
const folder = flags.keep ?? Deno.makeTempDirSync({ prefix: "graft-figures-" });
/** The paper's table 7 has ranks 4 and 64. */
const [SMALL, MIDDLE, LARGE] = [4, 8, 64];

/** Trains an adapter, unless an earlier call did; alpha is twice the rank. */
async function adapter(rank: number, seed: number): Promise<string> {
  const path = join(folder, `r${rank}-seed${seed}`);
  if (exists(path)) return path;
  // One that was interrupted is an adapter, too: only a whole run gets the name.
  const unfinished = `${path}.unfinished`;
  await graft(
    ...["train", ...train, "--iters", flags.iters, "--rank", `${rank}`],
    ...["--lora-alpha", `${2 * rank}`, "--seed", `${seed}`],
    ...["--adapter-path", unfinished, "--overwrite", "--val-batches", "0"],
  );
  Deno.renameSync(unfinished, path);
  return path;
}

/** What is read of `report.json`. */
interface Report {
  readonly adapters: readonly { readonly rank: number }[];
  readonly matrices: readonly Matrix[];
}

interface Matrix {
  readonly path: string;
  readonly rows: number;
  readonly cols: number;
  readonly norm: number;
  readonly updates: readonly (Update | null)[];
  readonly pair: Readonly<Record<"inputs" | "outputs", readonly (readonly number[])[]>> | null;
}

interface Update {
  readonly norm: number;
  readonly directions: {
    readonly of_update: number;
    readonly of_weight: number | null;
    readonly of_random: number;
    readonly amplification: number | null;
  } | null;
}

async function analysis(adapters: readonly string[], name: string): Promise<Report> {
  const report = join(folder, name);
  await graft("analyze", "-m", model, "--adapter-path", adapters.join(), "--report", report);
  return JSON.parse(Deno.readTextFileSync(join(report, "report.json")));
}

/** Values by the last part of a module's path, in the order of the model. */
function byTarget(matrices: readonly Matrix[]): Map<string, Matrix[]> {
  return Map.groupBy(matrices, ({ path }) => path.split(".").at(-1)!);
}

/** Numbers of directions that the tables show. */
const SHOWN: readonly (readonly [number, number])[] = [[1, 1], [1, 8], [4, 4], [8, 8], [8, 64]];

function similarities(found: Report): string {
  const rows = [...byTarget(found.matrices)].flatMap(([target, matrices]) =>
    (["inputs", "outputs"] as const).map((side) => {
      const grids = matrices.flatMap(({ pair }) => pair === null ? [] : [pair[side]]);
      const cells = SHOWN.map(([i, j]) => {
        const values = grids.flatMap((grid) => grid[i - 1]?.[j - 1] ?? []);
        return values.length === 0 ? "–" : mean(values).toFixed(2);
      });
      const width = side === "inputs" ? matrices[0].cols : matrices[0].rows;
      // Of random subspaces: φ of i and j directions among `width`.
      const random = SHOWN.map(([i, j]) => Math.max(i, j) / width);
      return [
        target,
        side,
        `${grids.length}`,
        ...cells.map((cell, k) => `${cell} (${random[k].toFixed(2)})`),
      ];
    })
  );
  return markdownTable(
    ["module", "of its", "matrices", ...SHOWN.map(([i, j]) => `φ(${i}, ${j})`)],
    rows,
  );
}

function amplifications(analyses: readonly Report[]): string {
  const rows = analyses.flatMap(({ adapters, matrices }) =>
    [...byTarget(matrices)].map(([target, own]) => {
      const updates = own.flatMap(({ updates: [update], norm }) =>
        update?.directions ? [{ ...update, ...update.directions, weight: norm }] : []
      );
      const meanOf = (value: (update: typeof updates[number]) => number | null) =>
        mean(updates.map((update) => value(update) ?? NaN));
      return [
        target,
        String(adapters[0].rank),
        meanOf(({ of_update }) => of_update).toFixed(3),
        meanOf(({ of_weight }) => of_weight).toFixed(2),
        meanOf(({ of_random }) => of_random).toFixed(3),
        meanOf(({ weight }) => weight).toFixed(2),
        meanOf(({ norm }) => norm).toFixed(3),
        meanOf(({ amplification }) => amplification).toFixed(2),
      ];
    })
  );
  return markdownTable(
    ["module", "r", "‖UᵀWVᵀ‖ of ΔW", "of W", "random", "‖W‖", "‖ΔW‖", "amplification"],
    rows,
  );
}

const small = await adapter(SMALL, 0);
const middle = await adapter(MIDDLE, 0);
const large = await adapter(LARGE, 0);
const other = await adapter(LARGE, 1);
const ranks = await analysis([middle, large], "ranks");
const seeds = await analysis([large, other], "seeds");
const alone = [await analysis([small], "small"), await analysis([large], "large")];
console.log(`\nrank ${MIDDLE} beside rank ${LARGE}, one seed; in brackets random subspaces\n`);
console.log(similarities(ranks));
console.log(`\nrank ${LARGE}, two seeds; in brackets random subspaces\n`);
console.log(similarities(seeds));
console.log("\namplification, mean of the layers\n");
console.log(amplifications(alone));
console.log(`\nThe reports are in ${folder}: ranks/report.html, seeds/report.html`);
