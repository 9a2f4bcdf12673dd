/**
 * Tokens per second of a training in this checkout and in another one, in turn: what a change brings
 * on a machine whose speed changes by the minute. Ends with the median ratio of each setting.
 *
 * usage: deno run -A scripts/figures/before.ts OTHER_CHECKOUT [rounds, default 3] [rows, default 256]
 *   [workload: e2e.qv (default), e2e.all or banking77]
 *   [flags of graft train that are added, as --lora-dropout 0.05]
 */
import { resolve } from "@std/path";
import { graftOf, tokensPerSecond } from "./children.ts";
import { limitedData } from "../bench/context.ts";
import { median } from "../../src/statistics.ts";
import { workload } from "./workloads.ts";

const [other, rounds = "3", rows = "256", ...rest] = Deno.args;
const name = rest[0] === undefined || rest[0].startsWith("-") ? "e2e.qv" : rest.shift()!;
if (other === undefined) {
  console.error(
    "usage: deno run -A scripts/figures/before.ts OTHER_CHECKOUT [rounds] [rows] [workload] [flags]",
  );
  Deno.exit(2);
}
const SHARED = resolve("../shared");
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const { graft: flags } = workload(SHARED, name, limitedData(SHARED, folder, Number(rows)));
const ratios: Record<string, number[]> = { fast: [], exact: [] };
for (let round = 0; round < Number(rounds); round++) {
  for (const numeric of ["fast", "exact"]) {
    const found: Record<string, number> = {};
    for (const [which, root] of [["other", resolve(other)], ["this", Deno.cwd()]]) {
      const adapter = `${folder}/adapter`;
      await graftOf(
        `${root}/`,
        ...["train", ...flags, ...rest, "--numeric", numeric],
        ...["--adapter-path", adapter, "--overwrite"],
      );
      found[which] = Math.round(tokensPerSecond(`${adapter}/metrics.jsonl`));
    }
    console.log(JSON.stringify({ numeric, ...found }));
    ratios[numeric].push(found.this / found.other);
  }
}
for (const [numeric, all] of Object.entries(ratios)) {
  console.log(JSON.stringify({ numeric, timesOther: Number(median(all).toFixed(3)) }));
}
Deno.removeSync(folder, { recursive: true });
