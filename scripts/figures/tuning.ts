/**
 * What of an adapter's gain merges keep that are tuned from one start or another: scales fitted by the
 * activations of so many tokens (`fitted/1024`), compensated rounding by as many (`compensated/4096`),
 * or the base as it is (`base`); then so many steps at a learning rate, on the data's labels or distilled
 * from base + adapter. Prints a JSON line a variant, on the adapter's own data. The figures in
 * `src/model/try_ways.ts` and `tune_rounds.ts` are of SmolLM2 in int4, plain text of
 * scripts/figures/merges.ts, all layers, rank 16: 48 steps at 5e-4 on 192 rows, 200 at 1e-3 on 800.
 *
 * usage: deno run -A scripts/figures/tuning.ts MODEL ADAPTER START[:STEPS:RATE[:distilled]]…
 *   e.g. fitted/1024 fitted/1024:12:1e-2 compensated/2048:12:3e-3:distilled
 */
import { evaluatorFor } from "../../src/tasks/evaluator.ts";
import { loadMergeData } from "../../src/tasks/merge_data.ts";
import { scaleTuner } from "../../src/tasks/scale_tuner.ts";
import type { Model } from "../../src/graph/types.ts";
import { adapterChanges, gainKept, mergeModel, withAdapters } from "../../src/lora/merge/mod.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { gramSource } from "../../src/model/collect_gram.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { RuntimeProduct } from "../../src/model/matrix_product.ts";
import { RuntimeScaleProducts } from "../../src/model/runtime_scale_products.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { openMapped } from "../../src/system/mapped_file.ts";

const [modelFolder, adapterFolder, ...variants] = Deno.args;
const path = findModelFile(modelFolder);
using base = loadOnnx(path, openMapped);
const { adapter } = loadAdapter(adapterFolder);
const choice = { valBatches: 25, calibrationTokens: 4096 };
using opened = await loadMergeData(choice, path, base.model, adapter.card, () => {});
if (opened === undefined) throw new Error("The adapter's data is not there");
const { data: { objective, train, heldOut }, training } = opened;
using runner = createOrtRunner();
const evaluate = await evaluatorFor(runner, undefined, base.model, objective);
const changes = adapterChanges(base.model, [{ label: adapterFolder, adapter, weight: 1 }]);
const adapted = withAdapters(base.model, changes);
const lossOf = async (model: Model) => ({
  loss: (await evaluate(model, heldOut(), { objective })).loss,
});
const [before, best] = [await lossOf(base.model), await lossOf(adapted)];
using product = await RuntimeProduct.open(runner);
using scaleProducts = new RuntimeScaleProducts(runner);

/** What tuning starts from, and what of the change of the layers' outputs it misses. */
async function startOf(start: string): Promise<{ model: Model; missed: number | null }> {
  if (start === "base") return { model: base.model, missed: null };
  const [method, tokens] = start.split("/");
  const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
  try {
    const { model, matrices } = await mergeModel(
      base.model,
      changes.changes,
      method as "fitted" | "compensated",
      {
        grams: gramSource(runner, adapted, { ...train, maxTokens: Number(tokens) }, { folder }),
        gramBytes: base.sizeBytes / 5,
        multiply: product.multiply,
        scaleProducts: scaleProducts.compute,
      },
    );
    const missed = matrices.reduce((sum, { outputError = 0 }) => sum + outputError, 0);
    return { model, missed: missed / matrices.length };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

for (const variant of variants) {
  const [start, steps = "0", rate = "0", how] = variant.split(":");
  const began = performance.now();
  const { model, missed } = await startOf(start);
  let tuned = model;
  if (Number(steps) > 0) {
    const data = { task: objective, batches: training, modelBytes: base.sizeBytes };
    const tune = scaleTuner(runner, undefined, Number(steps), data);
    const paths = new Set(changes.changes.map(({ path }) => path));
    const scales = await tune(model, paths, {
      round: 0,
      learningRate: Number(rate),
      teacher: how === "distilled" ? adapted : undefined,
    });
    const own = [...scales].map(([path, by]) => ({ path, updates: [], scaleUpdates: [by] }));
    tuned = (await mergeModel(model, own, "scales")).model;
  }
  const seconds = (performance.now() - began) / 1000;
  const { loss } = await lossOf(tuned);
  console.log(JSON.stringify({
    ...{ variant, base: before.loss, adapter: best.loss, loss, missed, seconds },
    gain_kept: gainKept(before, best, { loss }) ?? null,
  }));
}
