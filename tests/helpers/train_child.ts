/**
 * A training run for tests that kill it: `train_child.ts DIR host|ort STEPS SAVE_EVERY`.
 *
 * Resumes from what is in DIR. Prints `start`, `step N` after each step, `saved N` after each
 * checkpoint, `warning …`, and at the end `done SHA256` of the last checkpoint's manifest.
 */
import { join } from "@std/path";
import { exitCodeOf, formatError } from "../../src/cli/terminal/exit.ts";
import { CheckpointDirectory } from "../../src/train/checkpoint_files.ts";
import { train } from "../../src/train/loop.ts";
import type { Optimizer } from "../../src/train/optimizer.ts";
import type { StepModel } from "../../src/train/step.ts";
import { HostAdamW, LeastSquares, planeData, type Rows } from "./host_training.ts";

async function make(backend: string): Promise<{ model: StepModel<Rows>; optimizer: Optimizer }> {
  if (backend === "host") {
    const model = new LeastSquares(true);
    return { model, optimizer: new HostAdamW(model.parameters) };
  }
  // Six times the code of the rest: loaded where it is used alone.
  const { createOrtRunner } = await import("../../src/runtime/ort_runner.ts");
  const { graphOptimizer } = await import("../../src/train/graph_optimizer.ts");
  const { OPTIMIZER_DEFAULTS } = await import("../../src/train/update_rules.ts");
  const { OrtLeastSquares } = await import("./ort_least_squares.ts");
  const runner = createOrtRunner({ threads: 1 });
  const model = new OrtLeastSquares(runner);
  const settings = { ...OPTIMIZER_DEFAULTS, name: "adamw" } as const;
  return { model, optimizer: await graphOptimizer(runner, model.parameters, settings) };
}

async function main([directory, backend, steps, saveEvery]: string[]): Promise<void> {
  const { model, optimizer } = await make(backend);
  const checkpoints = new CheckpointDirectory(directory, { seed: 1 });
  const found = checkpoints.load((message) => console.log(`warning ${message}`));
  console.log("start");
  let last = found?.path ?? "";
  const totalSteps = Number(steps);
  await train({
    model,
    optimizer,
    data: planeData(40, 4),
    validation: planeData(8, 4, 2),
    settings: {
      totalSteps,
      accumulation: 2,
      schedule: { name: "cosine", learningRate: 0.05, warmupSteps: 3, totalSteps },
      maxGradNorm: 1,
      stepsPerReport: 1,
      stepsPerEval: 7,
      valBatches: -1,
      saveEvery: Number(saveEvery),
      patience: 0,
      loadBest: true,
      seed: 1,
    },
    checkpoints,
    resume: found?.checkpoint,
    callbacks: {
      onStep: ({ step }) => console.log(`step ${step}`),
      onCheckpoint: ({ step, path }) => {
        last = path;
        console.log(`saved ${step}`);
      },
    },
  });
  const manifest = Deno.readFileSync(join(last, "manifest.json"));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", manifest));
  console.log(`done ${digest.toHex()}`);
}

try {
  await main(Deno.args);
} catch (error) {
  console.error(formatError(error, false));
  Deno.exit(exitCodeOf(error));
}
