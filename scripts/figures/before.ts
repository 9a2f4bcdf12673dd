/**
 * Tokens per second of B1's q,v training in this checkout and in another one, in turn: what a change
 * brings on a machine whose speed changes by the minute.
 *
 * usage: deno run -A scripts/figures/before.ts OTHER_CHECKOUT [rounds, default 3] [rows, default 256]
 *   [flags of graft train that are added, as --lora-dropout 0.05]
 */
import { resolve } from "@std/path";
import { graftOf, tokensPerSecond } from "./children.ts";
import { sharedData, workload } from "./workloads.ts";

const [other, rounds = "3", rows = "256", ...more] = Deno.args;
if (other === undefined) {
  console.error(
    "usage: deno run -A scripts/figures/before.ts OTHER_CHECKOUT [rounds] [rows] [flags]",
  );
  Deno.exit(2);
}
const SHARED = resolve("../shared");
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
const data = sharedData(SHARED);
const e2eTrain = `${folder}/train.jsonl`;
const lines = Deno.readTextFileSync(data.e2eTrain).split("\n").slice(0, Number(rows));
Deno.writeTextFileSync(e2eTrain, lines.join("\n"));
const { graft: flags } = workload(SHARED, "e2e.qv", { ...data, e2eTrain });
for (let round = 0; round < Number(rounds); round++) {
  for (const numeric of ["fast", "exact"]) {
    const found: Record<string, number> = {};
    for (const [name, root] of [["other", resolve(other)], ["this", Deno.cwd()]]) {
      const adapter = `${folder}/adapter`;
      await graftOf(
        `${root}/`,
        ...["train", ...flags, ...more, "--numeric", numeric],
        ...["--adapter-path", adapter, "--overwrite"],
      );
      found[name] = Math.round(tokensPerSecond(`${adapter}/metrics.jsonl`));
    }
    console.log(JSON.stringify({ numeric, ...found }));
  }
}
Deno.removeSync(folder, { recursive: true });
