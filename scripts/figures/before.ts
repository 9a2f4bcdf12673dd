/**
 * Tokens per second of a training in this checkout and in another one, in turn: what a change brings
 * on a machine whose speed changes by the minute. Ends with the median ratio of each setting.
 *
 * usage: deno run -A scripts/figures/before.ts OTHER_CHECKOUT [rounds, default 3] [rows, default 256]
 *   [workload: e2e.qv (default), e2e.all, banking77, or shapes: batches of 1×256, 4×256, 16×64 and
 *   1×1024 made-up tokens, a few steps each; shapes=1x1024,4x256 for some]
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
const SHAPES = ["1x256", "4x256", "16x64", "1x1024"];
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const data = limitedData(SHARED, folder, Number(rows));
if (/^shapes(=|$)/.test(name)) {
  await compareShapes(workload(SHARED, "e2e.qv", data).model);
  Deno.removeSync(folder, { recursive: true });
  Deno.exit();
}
const { graft: flags } = workload(SHARED, name, data);
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

/** Steps of several shapes, each in a process of its own. */
async function compareShapes(model: string): Promise<void> {
  const [, only] = name.split("=");
  for (const shape of only?.split(",") ?? SHAPES) {
    const [batch, length] = shape.split("x");
    for (const numeric of ["fast", "exact"]) {
      const found: Record<string, { speed: number[]; memory: number[] }> = {};
      for (let round = 0; round < Number(rounds); round++) {
        for (const [which, root] of [["other", resolve(other)], ["this", Deno.cwd()]]) {
          const { stdout } = await graftOf(
            `${root}/`,
            ...["bench", "train", "--json", "--model", model, "--steps", "4"],
            ...["--numeric", numeric, "--batch-size", batch, "--length", length, ...rest],
          );
          const [row] = JSON.parse(stdout).configurations;
          found[which] ??= { speed: [], memory: [] };
          found[which].speed.push(row.tokens_per_s);
          found[which].memory.push(row.peak_rss_mb);
        }
      }
      const ratio = (what: "speed" | "memory") =>
        Number((median(found.this[what]) / median(found.other[what])).toFixed(3));
      console.log(JSON.stringify({
        shape,
        numeric,
        timesOther: ratio("speed"),
        memoryTimesOther: ratio("memory"),
        tokensPerSecond: Math.round(median(found.this.speed)),
      }));
    }
  }
}
