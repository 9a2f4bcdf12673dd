import { assert } from "@std/assert";
import { evaluateModel } from "../../src/eval/evaluate.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { runOn } from "../../src/eval/run_on.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { findModules } from "../../src/lora/modules.ts";
import { injectScales, scaleGrid } from "../../src/lora/scale_adapter.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { inPieces } from "../../src/runtime/in_pieces.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runnable } from "../../src/runtime/runner.ts";
import { relativeDistance } from "../../src/statistics.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { floats } from "../helpers/lora_graphs.ts";
import { batchOf, rowsOf, STEP_MODELS, type StepModelName } from "../helpers/training_step.ts";

for (const name of Object.keys(STEP_MODELS) as StepModelName[]) {
  for (const weightBytes of [1, 4096, 2 ** 30]) {
    Deno.test(`inPieces() computes of ${name} what one session does, with ${weightBytes} bytes a piece`, async () => {
      using runner = createOrtRunner({ threads: 1 });
      const model = readModel(modelDir(name));
      const batch = batchOf(rowsOf([9, 6]), 9, STEP_MODELS[name]);
      const run = async (executable: Runnable) => {
        const { logits } = await runOn(runner, executable, model.graph, batch, new Map(), [
          "logits",
        ]);
        using held = logits;
        return toNumbers(held.read());
      };
      using whole = await runner.compile(model);
      const found = await run(inPieces(runner, model, weightBytes));
      assert(relativeDistance(found, await run(whole)) < 1e-6);
    });
  }
}

Deno.test("inPieces() keeps the scales that an adapter of scales computes constants", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = readModel(modelDir("tiny-llama-genai-int4"));
  const index = indexGraph(base.graph);
  const sites = resolveTargets(findModules(base), { ...DEFAULT_LORA, rank: 2 });
  const scales = new Map(sites.map(({ module }) => [module.path, {
    a: floats(2, scaleGrid(index, module).blocks),
    b: floats(module.outFeatures, 2),
  }]));
  const { model } = injectScales(base, sites, scales);
  const logits = (weightBytesAtOnce?: number) =>
    evaluateModel(runner, model, [batchOf(rowsOf([9, 6]), 9, "causal")], {
      objective: "causal",
      logitRows: 8,
      weightBytesAtOnce,
    });
  const { logits: whole } = await logits();
  const { logits: found } = await logits(1);
  assert(relativeDistance(found, whole) < 1e-6);
});
