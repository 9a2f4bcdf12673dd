/**
 * How close gradients in `fast` are to those in `exact`, batch by batch, on plain text drawn at random:
 * single sequences differ far more than most, which is why `train/check_fast.ts` looks at several groups.
 * Prints a JSON object a batch, and the cosines from the smallest to the largest.
 *
 * usage: deno run -A scripts/figures/rounded_gradients.ts [SHARED] [ROWS] [BATCH] [SEED]
 *   (default: ../shared, 128 rows, batches of 4, seed 1)
 */
import { openRunner } from "../../src/runtime/open_runner.ts";
import { resolveConfig } from "../../src/finetune/mod.ts";
import { prepareTraining } from "../../src/finetune/prepare_training.ts";
import { Random } from "../../src/random.ts";
import {
  type BothSettings,
  compareGradients,
  gradientsInBoth,
} from "../../src/train/check_fast.ts";
import { chooseArithmetic } from "../../src/train/choose_arithmetic.ts";
import type { MicroBatches } from "../../src/train/micro_batches.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { writeRows } from "./drawn_rows.ts";

const [shared = "../shared", rows = "128", batchSize = "4", seed = "1"] = Deno.args;
const LENGTH = 256;

const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
try {
  const random = Random.fromSeed(Number(seed));
  const data = writeRows("plain text", Number(rows), `${folder}/rows`, shared, random);
  const config = resolveConfig({
    ...{
      model: `${shared}/models/smollm2-135m-instruct-int4`,
      data,
      targetModules: ["all-linear"],
    },
    ...{ rank: 16, batchSize: Number(batchSize), maxSeqLength: LENGTH, shuffle: false },
  });
  using runner = openRunner(config);
  using setup = await prepareTraining(config, { own: { runner } });
  const { model } = setup.model as MicroBatches;
  if (!(model instanceof PlannedModel)) throw new Error("Trains another way than by a plan");
  const both: BothSettings = {
    exact: model.arithmetic,
    fast: await chooseArithmetic(runner, { ...setup.memory?.forms, numeric: "fast" }),
  };
  const cosines: number[] = [];
  for (let i = 0; i < setup.data.batches(0); i++) {
    const batch = await setup.data.batch(0, i);
    const { exact, fast } = await gradientsInBoth(model, both, [batch]);
    const compared = compareGradients(exact, fast);
    cosines.push(compared.cosine);
    console.log(JSON.stringify({ dims: batch.inputIds.dims, ...compared }));
  }
  const sorted = cosines.toSorted((a, b) => a - b).map((cosine) => Number(cosine.toFixed(4)));
  console.log(JSON.stringify({ batchSize: Number(batchSize), seed: Number(seed), sorted }));
} finally {
  Deno.removeSync(folder, { recursive: true });
}
