/** graft's side of the training workloads. */
import { elementCount } from "../../src/graph/tensor.ts";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import { exists } from "../../src/system/durable_files.ts";
import { VERSION } from "../../src/version.ts";
import { graft, tokensPerSecond } from "../figures/children.ts";
import { E2E_LENGTH, type Workload } from "../figures/workloads.ts";
import type { TrainResult } from "./results.ts";

/** graft's numeric settings, `--numeric`. */
export type Setting = "exact" | "fast";

/**
 * Trains once; the adapter is left in `adapter`.
 *
 * @returns its `dtype` is the setting that was used: graft goes back to `exact` where `fast` computes
 *   another gradient
 */
export async function trainGraft(
  workload: Workload,
  setting: Setting,
  adapter: string,
): Promise<TrainResult> {
  const { peakMb, seconds } = await graft(
    ...["train", ...workload.graft, "--numeric", setting],
    ...["--adapter-path", adapter, "--overwrite"],
  );
  const metrics = `${adapter}/metrics.jsonl`;
  const losses = jsonLines(metrics).flatMap(({ loss }) => loss === undefined ? [] : [loss]);
  const json = (name: string) => JSON.parse(Deno.readTextFileSync(`${adapter}/${name}`));
  const config = json("adapter_config.json");
  const last = losses.slice(-10);
  return {
    peer: `graft ${VERSION}`,
    task: workload.name === "banking77" ? "seqcls" : "causal",
    dtype: json("graft.json").config.numeric,
    targets: workload.targets,
    rank: config.r,
    alpha: config.lora_alpha,
    lr: workload.learningRate,
    batch: workload.batch,
    epochs: workload.epochs,
    examples: rowsOf(workload.data),
    trainable_parameters: countTrained(adapter),
    wall_s: seconds,
    tokens_per_s: tokensPerSecond(metrics),
    peak_rss_mb: peakMb,
    loss_first: losses[0],
    loss_last10: last.reduce((sum, loss) => sum + loss, 0) / last.length,
    losses,
  };
}

/** Loss of held-out data, by the graph that runs at inference. */
export async function heldOutLoss(workload: Workload, adapter?: string): Promise<number> {
  return (await evaluated(workload.model, workload, adapter)).loss;
}

/** Share of right answers on held-out data. */
export async function heldOutAccuracy(
  model: string,
  workload: Workload,
  adapter?: string,
): Promise<number> {
  return (await evaluated(model, workload, adapter)).accuracy;
}

async function evaluated(model: string, { heldOut }: Workload, adapter?: string) {
  const { stdout } = await graft(
    ...["eval", model, "--data", heldOut, "--json", "--max-seq-length", String(E2E_LENGTH)],
    ...["--batch-size", "16"],
    ...(adapter === undefined ? [] : ["--adapter-path", adapter]),
  );
  return JSON.parse(stdout);
}

/** Merges at the base's own bits, without its measurements. */
export async function mergeGraft(model: string, adapter: string, path: string): Promise<void> {
  await graft(
    ...["merge", "--model", model, "--adapter-path", adapter, "--save-path", path, "--force"],
    ...["--method", "nearest", "--no-latency", "--val-batches", "1"],
  );
}

function jsonLines(path: string): readonly { readonly loss?: number }[] {
  return Deno.readTextFileSync(path).trim().split("\n").map((line) => JSON.parse(line));
}

/** Rows of a JSONL file, or of a table without its heading. */
function rowsOf(path: string): number {
  const lines = Deno.readTextFileSync(path).trimEnd().split("\n").length;
  return path.endsWith(".csv") ? lines - 1 : lines;
}

function countTrained(adapter: string): number {
  let count = 0;
  for (const name of ["adapter_model.safetensors", "head.safetensors"]) {
    const path = `${adapter}/${name}`;
    if (!exists(path)) continue;
    const { tensors } = decodeSafetensors(Deno.readFileSync(path));
    for (const { dims } of tensors.values()) count += elementCount(dims);
  }
  return count;
}
