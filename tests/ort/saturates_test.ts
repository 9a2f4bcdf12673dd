import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import {
  fileMultipliesBySigned,
  multipliesBySigned,
  saturates,
} from "../../src/runtime/saturates.ts";
import { compareForward } from "../../src/train/compare_forward.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, batchOf, rowsOf, stepOn } from "../helpers/training_step.ts";

const MODELS = {
  "tiny-bert-dynamic-int8": true,
  "dialects/bert-qattention": true,
  "dialects/bert-integer-to-float": false, // unsigned weights
  "dialects/bert-qdq": false,
  "dialects/bert-qdq-floats": false,
  "tiny-llama-genai-int4": false,
  "tiny-llama-torch-fp32": false,
};

for (const [name, expected] of Object.entries(MODELS)) {
  Deno.test(`multipliesBySigned() tells ${name}, as a graph and as a file`, () => {
    assertEquals(multipliesBySigned(readModel(modelDir(name)).graph), expected);
    assertEquals(fileMultipliesBySigned(`${modelDir(name)}/model.onnx`), expected);
  });
}

Deno.test("fileMultipliesBySigned() leaves what is no model to the runtime", () => {
  assertEquals(fileMultipliesBySigned(`${modelDir("tiny-bert-dynamic-int8")}/config.json`), false);
  assertEquals(fileMultipliesBySigned(modelDir("no-such-model")), false);
});

Deno.test("saturates() compiles one session, which asks nothing in turn", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const compile = runner.compile.bind(runner);
  let compiled = 0;
  runner.compile = (...given) => {
    compiled++;
    return compile(...given);
  };
  await saturates(runner, "uint8", "int8");
  assertEquals(compiled, 1);
});

Deno.test("saturates() counts no traffic, and no two types of one sign saturate", async () => {
  using runner = createOrtRunner({ threads: 1 });
  assertEquals(await saturates(runner, "uint8", "uint8"), false);
  assertEquals(await saturates(runner, "int8", "int8"), false);
  assertEquals(runner.traffic, { uploadedBytes: 0, readBytes: 0 });
});

Deno.test("a model that rounds its activations computes near its floats on every processor", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const name = "tiny-bert-dynamic-int8";
  using step = stepOn(runner, name);
  const { model } = adapted(readModel(modelDir(name)));
  const batch = batchOf(rowsOf([9, 6]), 9, "classification");
  const { relativeDifference } = await compareForward(runner, model, step, batch);
  // Saturating, it would be over 0.12.
  assert(relativeDifference < 0.05, `relative difference ${relativeDifference}`);
});
