import { assertEquals } from "@std/assert";
import type { TrainingForms } from "../../src/kernels/training_forms.ts";
import { writeChosenMemory } from "../../src/finetune/chosen_memory.ts";
import { runForms } from "../../src/finetune/run_forms.ts";
import type { PreparationEvent } from "../../src/finetune/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { saturatingRunner } from "../helpers/saturating_runner.ts";

/** What a run into a folder goes on with that was begun with other forms, and what it says. */
async function resumed(runner: Runner, forms: TrainingForms) {
  const adapterPath = Deno.makeTempDirSync();
  const events: PreparationEvent[] = [];
  try {
    writeChosenMemory(adapterPath, { keepBytes: 0, sequences: 1, shards: 1, stages: 1, forms });
    const flags = { resume: true, adapterPath, threads: 1, numeric: "fast" } as const;
    const model = readModel(modelDir("tiny-llama-genai-fp32"));
    const found = await runForms(flags, runner, model, (event) => void events.push(event));
    return { found, events };
  } finally {
    Deno.removeSync(adapterPath, { recursive: true });
  }
}

const BEFORE = { dequantForm: undefined, rotated: true, sliced: true } as const;

Deno.test("runForms() of a resumed run are those it began with", async () => {
  using runner = createOrtRunner({ threads: 1 });
  for (const integerForm of RIGHT_FORMS) {
    const forms = { ...BEFORE, integerForm };
    assertEquals(await resumed(runner, forms), { found: forms, events: [] });
  }
});

Deno.test("runForms() leaves a form that saturates on the processor that a run goes on with", async () => {
  using runner = saturatingRunner();
  const { found, events } = await resumed(runner, { ...BEFORE, integerForm: "u8s8" });
  assertEquals(found, { ...BEFORE, integerForm: "u8u8" });
  assertEquals(events, [{ kind: "integer form changed", from: "u8s8", to: "u8u8" }]);
});
