// What a merge writes must not depend on how a base calls its data file, or on what shares its bytes.
import { assertEquals, assertRejects } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { writeMerged } from "../../src/model/write_merged.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Proto } from "../../src/onnx/schema.ts";
import {
  type ModelMessage,
  readModel,
  writeModel,
} from "../../scripts/campaigns/hostile/mutators/messages.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { withRandomAdapter } from "../helpers/random_adapter.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const BASE = modelDir("tiny-llama-genai-int4");
const DATA = "model.onnx.data";

const outside = ({ graph }: ModelMessage) =>
  graph!.initializer.filter(({ externalData }) => externalData.length > 0);

const entryOf = ({ externalData }: Proto<"TensorProto">, key: string) =>
  externalData.find((entry) => entry.key === key)!;

/** Merges an adapter into a copy of the base, changed before; what is on disk against what is computed. */
async function merged(dir: string, change: (model: ModelMessage) => void, targets: string[]) {
  const model = readModel(Deno.readFileSync(`${BASE}/model.onnx`));
  change(model);
  const folder = `${dir}/base`;
  Deno.mkdirSync(folder);
  Deno.writeFileSync(`${folder}/model.onnx`, writeModel(model));
  Deno.copyFileSync(`${BASE}/${DATA}`, `${folder}/${DATA}`);
  const path = `${folder}/model.onnx`;
  using loaded = loadOnnx(path);
  const { changes } = withRandomAdapter(loaded.model, targets, 0.1);
  const expected = (await mergeModel(loaded.model, changes, "nearest")).model.graph.initializers;
  using runner = createOrtRunner({ threads: 1 });
  const written = await writeMerged({
    base: { path, model: loaded.model, sizeBytes: loaded.sizeBytes },
    savePath: `${dir}/merged`,
    changes: { changes },
    method: "nearest",
    runner,
  });
  if ("refused" in written) throw written.refused;
  written.directory.commit();
  using result = loadOnnx(`${dir}/merged/model.onnx`);
  const found = result.model.graph.initializers;
  assertEquals([...found.keys()], [...expected.keys()]);
  for (const [name, { bytes }] of expected) assertEquals(found.get(name)!.bytes, bytes, name);
}

Deno.test("a merge keeps all weights of a data file that is named both w and ./w", () =>
  inTempDir((dir) =>
    merged(dir, (model) => {
      for (const [i, tensor] of outside(model).entries()) {
        entryOf(tensor, "location").value = ["", "./", "././", ".//"][i % 4] + DATA;
      }
    }, ["all-linear"])
  ));

Deno.test("a merge leaves weights alone whose bytes lie under those of a merged one", () =>
  inTempDir((dir) =>
    merged(dir, (model) => {
      const place = (layer: number) =>
        outside(model).filter(({ name }) =>
          name.includes(`layers.${layer}.attn.qkv_proj`) || name.includes(`layers.${layer}.mlp`)
        );
      const others = place(1);
      for (const [i, tensor] of place(0).entries()) {
        entryOf(others[i], "offset").value = entryOf(tensor, "offset").value;
      }
    }, ["*.layers.0.*"])
  ));

Deno.test("a merge refuses a base whose data lies in the model file itself", () =>
  inTempDir(async (dir) => {
    const change = (model: ModelMessage) => {
      // Codes: any bytes are some.
      const codes = outside(model).find(({ dataType }) => dataType === 2)!;
      entryOf(codes, "location").value = "./model.onnx";
      entryOf(codes, "offset").value = "0";
    };
    await assertRejects(
      () => merged(dir, change, ["all-linear"]),
      BadInputError,
      'its data lies in "model.onnx", the model\'s own file',
    );
  }));
