/** Trainings of several ranks, and what they are compared with. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { toNumbers } from "../../src/graph/tensor.ts";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import { exists } from "../../src/system/durable_files.ts";
import { relativeDistance } from "../../src/statistics.ts";
import { modelDir } from "./fixture_models.ts";
import { pairs, readMetrics } from "./training_runs.ts";

/** 22 rows in batches of 5: the last has 2. */
export function rankArgs(path: string): string[] {
  Deno.writeTextFileSync(join(path, "train.jsonl"), pairs(22));
  Deno.writeTextFileSync(join(path, "valid.jsonl"), pairs(7));
  return [
    ...["train", "--model", modelDir("tiny-llama-genai-int4"), "--data", path, "--threads=1"],
    ...["--batch-size=5", "--steps-per-report=1", "--target-modules=all-linear"],
    // Enough for the gradients to travel in two parts.
    "--rank=64",
  ];
}

/** Flags of one plain step of rate 1: with B at zero, it makes B the gradient. */
export function gradientArgs(path: string): string[] {
  const step = [...rankArgs(path), "--iters=1", "--optimizer=sgd", "--learning-rate=1"];
  return [...step, "--max-grad-norm=0", "--val-batches=0"];
}

/** Waits until a training has a checkpoint. */
export async function firstCheckpoint(adapter: string): Promise<void> {
  while (!exists(join(adapter, "checkpoints/latest"))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Name of a training's last checkpoint: `step-` and digits. */
export const lastCheckpoint = (adapter: string) =>
  Deno.readTextFileSync(join(adapter, "checkpoints/latest")).trim();

/** Largest relative difference of a tensor of two adapters. */
export function adapterDifference(one: string, other: string): number {
  const [a, b] = [one, other].map((folder) =>
    decodeSafetensors(Deno.readFileSync(join(folder, "adapter_model.safetensors"))).tensors
  );
  return Math.max(
    ...[...a].map(([name, tensor]) => relativeDistance(toNumbers(b.get(name)!), toNumbers(tensor))),
  );
}

/** All losses of two runs, found while they trained and evaluated, are the same to 1e-6. */
export async function assertSameLosses(one: string, other: string): Promise<void> {
  const [expected, found] = await Promise.all([one, other].map((folder) => readMetrics(folder)));
  assertEquals(found.length, expected.length);
  for (const [i, record] of expected.entries()) {
    for (const key of ["loss", "val_loss"] as const) {
      if (record[key] === undefined) continue;
      const relative = Math.abs(Number(found[i][key]) / Number(record[key]) - 1);
      assert(relative <= 1e-6, `${key} of line ${i}: ${relative}`);
    }
  }
}
