/** Layers that a network calls more than once: ALBERT's, and DeBERTa's queries and keys of positions. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { inject, loraName } from "../../src/lora/inject.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { makeTrainable } from "../../src/lora/modules_to_save.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { quantizeDirectory } from "../../src/model/quantize_directory.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { normal } from "../helpers/directional.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { withRandomAdapter } from "../helpers/random_adapter.ts";
import {
  adapted,
  assertGradientsOfDifferences,
  batchOf,
  rowsOf,
} from "../helpers/training_step.ts";

const read = (name: string) => readModel(modelDir(`dialects/${name}`));

/** Calls of each module, by the end of its path. */
const CALLS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "albert": { "attention.query": 2, "ffn": 2, "ffn_output": 2, "classifier": 1 },
  "deberta": { "layer.0.attention.self.query_proj": 2, "layer.1.attention.self.value_proj": 1 },
};

for (const [name, calls] of Object.entries(CALLS)) {
  Deno.test(`findModules() finds one module for all calls of a layer, ${name}`, () => {
    const modules = findModules(read(name));
    for (const [end, count] of Object.entries(calls)) {
      const [module, ...others] = modules.filter(({ path }) => path.endsWith(end));
      assertEquals([others.length, 1 + (module.again ?? []).length], [0, count], end);
    }
  });

  Deno.test(`a step's gradient sums what all calls of a layer give, ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const made = adapted(read(name), { targetModules: ["all-linear"], dropout: 0 });
    using step = new PlannedModel({ runner, ...made, objective: "classification" });
    const rows = rowsOf([9, 5, 7]).map((row) => ({ ...row, ids: row.ids.map((id) => id % 100) }));
    const batch = batchOf(rows, 16, "classification");
    await assertGradientsOfDifferences(step, batch);
  });

  for (const form of ["floats", "8 bits", "4 bits"]) {
    Deno.test(`mergeModel() changes a layer for all its calls, ${name} in ${form}`, () =>
      inTempDir(async (dir) => {
        using runner = createOrtRunner({ threads: 1 });
        const base = form === "floats"
          ? read(name)
          : await quantised(runner, name, form === "4 bits" ? 4 : 8, `${dir}/q`);
        const { changes, model } = withRandomAdapter(base, ["all-linear"], 0.1);
        const feeds = tokenFeeds(2, 9, 100);
        // The optimiser would have activations rounded to 8 bits.
        const run = (model: Model) =>
          runOutput(runner, model, feeds, "logits", { optimization: "disabled" });
        const wanted = await run(model);
        const bare = difference(await run(base), wanted).absolute;
        const bounds = { float: 1e-4, "8bit": 0.1 } as const;
        for (const [method, bound] of Object.entries(bounds)) {
          const merged = await mergeModel(base, changes, method as keyof typeof bounds);
          const left = difference(await run(merged.model), wanted).absolute;
          assert(left <= bound * bare, `${method}: ${left} of ${bare}`);
        }
      }));
  }
}

async function quantised(
  runner: Parameters<typeof quantizeDirectory>[0],
  name: string,
  bits: 4 | 8,
  savePath: string,
): Promise<Model> {
  const path = `${modelDir(`dialects/${name}`)}/model.onnx`;
  const base = { path, ...loadOnnx(path) };
  await quantizeDirectory(runner, { base, savePath, bits, minElements: 512 });
  return readModel(savePath);
}

Deno.test("inject() with dropout drops at each call of a layer anew", () => {
  const base = read("albert");
  const config = { ...DEFAULT_LORA, rank: 4, dropout: 0.1, targetModules: ["query"] };
  const sites = resolveTargets(findModules(base), config);
  const [{ module: { path } }] = sites;
  const weights = new Map([[path, { a: normal([4, 32], 1), b: normal([32, 4], 2) }]]);
  const { masks, trainable } = inject(base, sites, weights, { dropout: true });
  assertEquals([...masks.keys()], [`${path}.dropout_mask`, `${path}.1.dropout_mask`]);
  assertEquals([...trainable.keys()], [loraName(path, "A"), loraName(path, "B")]);
});

Deno.test("makeTrainable() refuses a layer that is called more than once", () => {
  const base = read("albert");
  const module = findModules(base).find(({ path }) => path.endsWith("query"))!;
  assertThrows(() => makeTrainable(base, module), UsageError, "the model calls it 2 times");
});
