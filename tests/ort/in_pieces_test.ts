import { assert } from "@std/assert";
import { toNumbers } from "../../src/graph/tensor.ts";
import { runOn } from "../../src/eval/run_on.ts";
import { inPieces } from "../../src/runtime/in_pieces.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runnable } from "../../src/runtime/runner.ts";
import { relativeDistance } from "../../src/statistics.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
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
