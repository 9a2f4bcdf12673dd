/**
 * e2e on the int4 SmolLM2, as PEFT was run on it: held-out loss of base and adapter through the
 * inference graph, and what each way of merging keeps.
 *
 * usage: deno run -A scripts/figures/e2e.ts [e2e.qv|e2e.all] [--shared ../shared] [--keep FOLDER]
 */
import { parseArgs } from "@std/cli/parse-args";
import { graft, tokensPerSecond } from "./children.ts";
import { workload } from "./workloads.ts";

const flags = parseArgs(Deno.args, {
  string: ["shared", "keep"],
  default: { shared: "../shared" },
});
const name = String(flags._[0] ?? "e2e.qv");
const { graft: train } = workload(flags.shared, name);
const model = train[train.indexOf("--model") + 1];
const folder = flags.keep ?? Deno.makeTempDirSync({ prefix: "graft-figures-" });
const adapter = `${folder}/adapter`;
const data = `${folder}/data`;
Deno.mkdirSync(data, { recursive: true });
Deno.copyFileSync(`${flags.shared}/data/e2e/bench512.jsonl`, `${data}/train.jsonl`);
Deno.copyFileSync(`${flags.shared}/data/e2e/bench_valid.jsonl`, `${data}/valid.jsonl`);

const reference = JSON.parse(Deno.readTextFileSync(`${flags.shared}/reference/peft_runs.json`));
const expected = reference[name.replace("e2e.", "e2e.smollm2.")];

async function loss(...args: readonly string[]): Promise<number> {
  const { stdout } = await graft(
    ...["eval", ...args, "--data", `${data}/valid.jsonl`, "--json", "--max-seq-length", "256"],
  );
  return JSON.parse(stdout).loss;
}

const { peakMb } = await graft("train", ...train, "--adapter-path", adapter, "--overwrite");
const speed = tokensPerSecond(`${adapter}/metrics.jsonl`);
const base = await loss(model);
const adapted = await loss(model, "--adapter-path", adapter);
console.log(JSON.stringify({
  workload: name,
  tokensPerSecond: speed,
  peakMb,
  base,
  peftBase: expected.valid_loss_before,
  adapter: adapted,
  peft: expected.valid_loss,
  relativeDifference: adapted / expected.valid_loss - 1,
}));
const { stdout } = await graft(
  ...["merge", "--model", model, "--adapter-path", adapter, "--save-path", `${folder}/merged`],
  ...["--data", data, "--val-batches", "-1", "--force"],
);
console.log(stdout);
console.log(JSON.stringify({ workload: name, merged: await loss(`${folder}/merged`) }));
