import { assert, assertEquals } from "@std/assert";
import { planTraining } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import {
  adapted,
  assertSame,
  batchOf,
  gradientsOf,
  rowsOf,
  type StepHow,
  stepOn,
} from "../helpers/training_step.ts";

const NAME = "tiny-llama-genai-int4";

for (
  const [title, how, tolerance] of [
    ["exact", { kept: "whole" }, 1e-6],
    ["exact, the stream in float16", { keepBytes: 1 }, 1e-3],
    ["fast", { numeric: "fast", keepBytes: 1 }, 0.02],
    ["dropout", { kept: "whole", dropout: 0.3 }, 1e-6],
    ["spans", { kept: "whole", shards: 2 }, 1e-5],
  ] as const
) {
  Deno.test(`thinStream has the gradient of all that runs between segments kept, ${title}`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    const batch = batchOf(rowsOf([64]), 64, "causal");
    const gradient = async (more: StepHow) => {
      using step = stepOn(runner, NAME, { ...how, ...more }, { targetModules: ["all-linear"] });
      return await gradientsOf(step, [batch], 5);
    };
    assertSame(await gradient({ thinStream: true }), await gradient({}), tolerance);
  });
}

Deno.test("planTraining() with thinStream keeps less of what runs between segments, and computes no attention again for it", () => {
  const { model, trainable } = adapted(readModel(modelDir(NAME)), {
    targetModules: ["all-linear"],
  });
  const planned = (thinStream?: boolean) =>
    planTraining(model, {
      ...{ batch: 1, length: 64, targetRows: 64, trainable, passes: ["training"] },
      thinStream,
    });
  const [thin, usual] = [planned(true), planned()];
  const again = thin.training.calls.filter(({ label }) => label.endsWith(" again"));
  assert(again.length > 0);
  assert(thin.savedBytes < 0.7 * usual.savedBytes, `${thin.savedBytes} of ${usual.savedBytes}`);
  assert(thin.training.memory.bytes < usual.training.memory.bytes);
  // Attention is not computed a second time for it.
  assert(again.every(({ graph }) => graph.nodes.every(({ opType }) => opType !== "Softmax")));
  assertEquals(usual.training.calls.filter(({ label }) => label.endsWith(" again")), []);
});
