import { assert, assertEquals } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Executable } from "../../src/runtime/runner.ts";
import { CausalModel } from "../../src/serve/causal_model.ts";
import { withChosenLogits } from "../../src/serve/last_logits.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";

Deno.test("compile() with optimizedPath writes a model that load() runs to the same logits", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    using runner = createOrtRunner({ threads: 1 });
    const model = withChosenLogits(readModel(modelDir("tiny-llama-genai-fp32")));
    const logits = async (executable: Executable) => {
      using causal = new CausalModel(runner, executable, model.graph);
      return (await causal.advance([1, 45, 300, 17])).slice();
    };
    const optimizedPath = `${folder}/model.onnx`;
    using compiled = await runner.compile(model, { optimizedPath });
    assert(Deno.statSync(`${folder}/weights.bin`).size > 100_000);
    using loaded = await runner.load(optimizedPath);
    assertEquals(await logits(loaded), await logits(compiled));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
