/**
 * banking77 on the embedded int8 MiniLM with PEFT's hyperparameters: accuracy on the test set, through
 * the inference graph, of the adapter and of the model merged at the base's own bits.
 *
 * usage: deno run -A scripts/figures/banking77.ts [--seeds 0,1,2] [--shared ../shared] [--keep FOLDER]
 *   [--model FOLDER]
 *   --keep keeps the adapters; those of an earlier call are used again
 *   --model trains another encoder, such as `scripts/static_minilm.py` writes
 */
import { parseArgs } from "@std/cli/parse-args";
import { mean } from "../../src/statistics.ts";
import { exists } from "../../src/system/durable_files.ts";
import { graft } from "./children.ts";
import { workload } from "./workloads.ts";

const flags = parseArgs(Deno.args, {
  string: ["seeds", "shared", "keep", "model"],
  default: { seeds: "0,1,2", shared: "../shared" },
});
const folder = flags.keep ?? Deno.makeTempDirSync({ prefix: "graft-figures-" });
const { graft: train, model: embedded } = workload(flags.shared, "banking77");
const model = flags.model ?? embedded;
const test = `${flags.shared}/data/banking77/test.csv`;

async function accuracy(...args: readonly string[]): Promise<number> {
  const { stdout } = await graft("eval", ...args, "--data", test, "--json", "--batch-size", "64");
  return JSON.parse(stdout).accuracy;
}

const rows: { readonly adapter: number; readonly nearest: number; readonly compensated: number }[] =
  [];
for (const seed of flags.seeds.split(",")) {
  const adapter = `${folder}/adapter-${seed}`;
  if (!exists(adapter)) {
    // One that was interrupted is an adapter, too: only a whole run gets the name.
    const unfinished = `${adapter}.unfinished`;
    await graft(
      ...["train", ...train, "--model", model],
      ...["--seed", seed, "--adapter-path", unfinished, "--overwrite"],
    );
    Deno.renameSync(unfinished, adapter);
  }
  const merged = async (method: string) => {
    const path = `${folder}/merged-${seed}-${method}`;
    await graft(
      ...["merge", "--model", model, "--adapter-path", adapter, "--save-path", path],
      ...["--method", method, "--force", "--no-latency"],
    );
    return await accuracy(path);
  };
  const row = {
    adapter: await accuracy(model, "--adapter-path", adapter),
    nearest: await merged("nearest"),
    compensated: await merged("compensated"),
  };
  console.log(JSON.stringify({ seed, ...row }));
  rows.push(row);
}
const meanOf = (key: keyof (typeof rows)[0]) => mean(rows.map((row) => row[key]));
console.log(JSON.stringify({
  seeds: flags.seeds,
  adapter: meanOf("adapter"),
  mergedNearest: meanOf("nearest"),
  mergedCompensated: meanOf("compensated"),
}));
