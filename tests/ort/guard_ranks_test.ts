// Inputs whose rank only a run tells: ONNX Runtime ends the process where they have too few dimensions.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { RuntimeFailure } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { float32, int32, type Tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { safeForm } from "../../src/runtime/safe_form.ts";
import { exists } from "../../src/system/durable_files.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { tinyModel } from "../helpers/ort.ts";
import { testOnEachOrt } from "../helpers/oldest_ort.ts";

const table = (...dims: number[]) => float32(dims, new Float32Array(32).fill(0.5));

/** Attention over 2 tokens of 16 columns, which takes its table of cosines from outside. */
function attention(cosines: Partial<Model["graph"]["inputs"][number]>): Model {
  const model = tinyModel({
    inputs: { packed: ["float32", [1, 2, 48]], last: ["int32", [1]], total: ["int32", [1]] },
    outputs: { y: ["float32", [1, 2, 16]] },
    initializers: { sines: table(4, 8) },
    nodes: [
      [
        "com.microsoft.GroupQueryAttention",
        ["packed", "", "", "", "", "last", "total", "cosines", "sines"],
        ["y", "keys", "values"],
        { num_heads: int(1), kv_num_heads: int(1), do_rotary: int(1) },
      ],
    ],
  });
  const { graph } = model;
  const inputs = [...graph.inputs, { name: "cosines", ...cosines }];
  return { ...model, graph: { ...graph, inputs } };
}

const ofAnyRank = attention({ type: { dtype: "float32" } });
const ofRank2 = attention({ type: { dtype: "float32", shape: [4, 8] } });

async function attend(model: Model, cosines: Tensor, ortLib: string | undefined) {
  using runner = createOrtRunner({ threads: 1, ortLib, logLevel: "fatal" });
  using executable = await runner.compile(model);
  using packed = runner.upload(float32([1, 2, 48], Float32Array.from({ length: 96 }, Math.sin)));
  using last = runner.upload(int32([1], [1]));
  using total = runner.upload(int32([1], [2]));
  using given = runner.upload(cosines);
  const { y } = await executable.run({ packed, last, total, cosines: given });
  return y.read();
}

testOnEachOrt("run() of attention with too few dimensions ends with an error", async (ortLib) => {
  await assertRejects(
    () => attend(ofAnyRank, table(32), ortLib),
    RuntimeFailure,
    "cos_cache",
  );
});

testOnEachOrt(
  "run() of attention of an unknown rank computes what one of a known does",
  async (ortLib) => {
    assertEquals(
      await attend(ofAnyRank, table(4, 8), ortLib),
      await attend(ofRank2, table(4, 8), ortLib),
    );
  },
);

Deno.test("safeForm() leaves what exporters and quantisers write as it is", () => {
  const folders = ["", "dialects/"].flatMap((folder) =>
    [...Deno.readDirSync(modelDir(folder))].map(({ name }) => modelDir(folder + name))
  );
  const models = folders.filter((folder) => exists(`${folder}/model.onnx`));
  assert(models.length > 20);
  for (const folder of models) {
    const model = readModel(folder);
    assert(safeForm(model) === model, folder);
  }
});
