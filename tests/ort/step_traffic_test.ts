import { assert, assertEquals } from "@std/assert";
import type { TokenBatch } from "../../src/data/targets.ts";
import { TOKEN_INPUTS } from "../../src/plan/inputs.ts";
import type { TensorOwner } from "../../src/runtime/ort_tensor.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { applyStep } from "../../src/train/accumulate.ts";
import { graphOptimizer } from "../../src/train/graph_optimizer.ts";
import type { PlannedModel } from "../../src/train/planned_model.ts";
import { OPTIMIZER_DEFAULTS } from "../../src/train/update_rules.ts";
import {
  batchOf,
  rowsOf,
  STEP_MODELS,
  type StepModelName,
  stepOn,
} from "../helpers/training_step.ts";

/** A learning rate, a clip factor, bias corrections…: no more numbers than this per step. */
const SCALARS = 16;

/** Bytes of what a step must be told: ids, masks, target rows with labels and weights. */
function batchBytes(step: PlannedModel, batch: TokenBatch): number {
  const { inputs, options, rows } = step.planOf(batch);
  const tokens = batch.inputIds.bytes.byteLength;
  const packed = options.packedRows === undefined ? 0 : tokens + 8 * options.packedRows;
  const perToken = TOKEN_INPUTS.filter((name) => inputs.has(name)).length;
  const perRow = 8 + 8 + 4; // position, label, weight
  return perToken * tokens + perRow * rows + packed;
}

async function trafficOf(runner: Runner, body: () => Promise<void>) {
  const before = { ...runner.traffic };
  await body();
  return {
    uploaded: runner.traffic.uploadedBytes - before.uploadedBytes,
    read: runner.traffic.readBytes - before.readBytes,
  };
}

for (const [name, objective] of Object.entries(STEP_MODELS)) {
  Deno.test(`a training step moves ids, masks, targets and scalars only, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name as StepModelName, { dropout: 0.1 });
    using optimizer = await graphOptimizer(runner, step.parameters, {
      ...OPTIMIZER_DEFAULTS,
      name: "adamw",
      weightDecay: 0.01,
    });
    const batches = [[5, 12, 9], [16, 3, 7]].map((lengths) =>
      batchOf(rowsOf(lengths), 16, objective)
    );
    const takeStep = async (seed: number) => {
      step.zeroGrad();
      const sums = { lossSum: 0, targetCount: 0, tokens: 0, next: { epoch: 0, batchIndex: 0 } };
      for (const [i, batch] of batches.entries()) {
        const { lossSum, targetCount } = await step.accumulate(batch, seed + i);
        sums.lossSum += lossSum;
        sums.targetCount += targetCount;
      }
      const result = await applyStep(optimizer, sums, 1e-3, 1);
      assert(result.taken);
    };
    await takeStep(1); // compiles, and brings the weights that the runtime cannot read in place
    const told = batches.reduce((sum, batch) => sum + batchBytes(step, batch), 0);
    const seen = [];
    for (const seed of [3, 5, 7]) {
      const { uploaded, read } = await trafficOf(runner, () => takeStep(seed));
      assert(uploaded <= told + SCALARS * 8, `uploaded ${uploaded} bytes, a batch has ${told}`);
      assert(read <= SCALARS * 4, `read ${read} bytes`);
      seen.push(`${uploaded} ${read}`);
    }
    assertEquals(new Set(seen).size, 1, `steps differ: ${seen}`);
    // Far from what the parameters alone would take.
    const parameters = step.parameters.reduce(
      (sum, { value }) => sum + value.read().bytes.length,
      0,
    );
    assert(told + SCALARS * 8 < parameters, `${told} of ${parameters} bytes tell nothing`);
  });
}

for (const [name, objective] of Object.entries(STEP_MODELS)) {
  Deno.test(`steps, evaluations and logits leave no tensor behind, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, name as StepModelName, { dropout: 0.1, keepBytes: 1e9 });
    const batch = batchOf(rowsOf([5, 16, 9]), 16, objective);
    const held = async () => {
      await step.accumulate(batch, 1);
      await step.accumulate(batch, 2);
      await step.evaluate(batch);
      await step.logits(batch);
      return (runner as unknown as TensorOwner).tensors.size;
    };
    const first = await held();
    assertEquals(await held(), first);
    step.zeroGrad();
    const weights = first - step.parameters.length;
    assertEquals((runner as unknown as TensorOwner).tensors.size, weights);
  });
}
