import { assertEquals, assertMatch, assertNotEquals, assertThrows } from "@std/assert";
import { BadInputError, EXIT, ParameterError, UsageError } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { composeAdapters } from "../../src/tasks/compose.ts";
import { InferenceModel } from "../../src/tasks/inference_model.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graftHere } from "../helpers/graft_here.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const NAME = "tiny-llama-genai-int4";
const model = modelDir(NAME);

async function answer(adapterPath: string): Promise<readonly number[]> {
  using opened = await InferenceModel.open({ model, adapterPath, threads: 1 });
  return (await opened.complete([1, 5, 9, 20], { maxTokens: 16, temperature: 0 })).ids;
}

Deno.test("graft compose adds and subtracts: facts + style − style answers as facts", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/facts`, NAME, { seed: 1 });
    saveRandomAdapter(`${folder}/style`, NAME, {
      seed: 2,
      rank: 2,
      targetModules: ["q_proj", "up_proj"],
    });
    const at = (name: string) => `${folder}/${name}`;
    for (const type of ["cat", "svd"]) {
      const paths = [at("facts"), at("style"), at("style")].join();
      const { code, stdout, stderr } = await graftHere([
        ...["compose", "--adapter-path", paths, "--adapter-weights", "1,1,-1"],
        ...["--combination-type", type, "--save-path", at(type), "--model", model],
      ]);
      assertEquals([code, stderr], [EXIT.ok, ""]);
      assertMatch(stdout, type === "cat" ? /^Saved .* of rank 8\n$/ : /of rank 4\n$/);
      assertEquals(await answer(at(type)), await answer(at("facts")));
      const { adapter } = loadAdapter(at(type));
      assertEquals(adapter.card?.parents?.length, 3);
      assertEquals([...adapter.config.targetModules].sort(), ["q_proj", "up_proj", "v_proj"]);
    }
    const negated = { adapterPath: [at("facts")], adapterWeights: [-1], savePath: at("negated") };
    composeAdapters(negated);
    assertNotEquals(await answer(at("negated")), await answer(at("facts")));
  }));

Deno.test("graft compose --svd shows what each rank keeps", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/facts`, NAME, { seed: 1, rank: 6 });
    const { stdout } = await graftHere([
      ...["compose", "--adapter-path", `${folder}/facts`, "--svd", "3"],
      ...["--save-path", `${folder}/small`],
    ]);
    const rows = stdout.trim().split("\n");
    assertMatch(rows[0], /^rank +of ‖ΔW‖ kept +least +in module$/);
    assertEquals(rows.slice(1, -1).map((row) => Number(row.trim().split(" ")[0])), [1, 2, 3, 4, 6]);
    assertMatch(rows[5], /^ +6 +100% +100% +model\.layers\.\d\.self_attn\.[qv]_proj$/);
    assertMatch(rows[6], /4 modules of rank 3$/);
    assertEquals(loadAdapter(`${folder}/small`).adapter.config.rank, 3);
  }));

Deno.test("composeAdapters() refuses what cannot be combined, and says why", () =>
  inTempDir((folder) => {
    const at = (name: string) => `${folder}/${name}`;
    saveRandomAdapter(at("a"), NAME, { seed: 1 });
    saveRandomAdapter(at("b"), NAME, { seed: 2, rank: 2 });
    saveRandomAdapter(at("other"), "tiny-llama-genai-fp32", { seed: 3 });
    const { adapter } = loadAdapter(at("a"));
    const card = adapter.card!;
    const scales = { ...adapter.config, adapterType: "scales" as const };
    saveAdapter(at("scales"), { ...adapter, card, config: scales });
    const head = {
      weight: float32([2, 3], [1, 2, 3, 4, 5, 6]),
      bias: float32([2], [0, 0]),
    };
    saveAdapter(at("head"), { ...adapter, card, head });
    const compose = (names: string, more: object = {}) => () =>
      composeAdapters({ adapterPath: names.split(",").map(at), savePath: at("out"), ...more });
    assertThrows(compose("a,other"), BadInputError, "different bases");
    assertThrows(compose("a", { model: modelDir("tiny-llama-genai-fp32") }), BadInputError, "base");
    assertThrows(compose("a,scales"), BadInputError, "scales, which cannot be combined");
    assertThrows(
      compose("head,head"),
      UsageError,
      "both bring a fully trained classification head",
    );
    assertThrows(compose("head", { adapterWeights: [2] }), UsageError, "use weight 1");
    assertThrows(compose("a,b", { combinationType: "linear" }), BadInputError, "differ: 4, 2; use");
    assertThrows(compose("a", { combinationType: "cat", rank: 2 }), ParameterError, "rank is for");
    assertThrows(compose("a", { combinationType: "ties" }), ParameterError, "density is missing");
    assertThrows(compose("a", { combinationType: "sum" }), ParameterError, "combinationType");
    assertThrows(compose("a,b", { adapterWeights: [1] }), ParameterError, "as many as");
    assertThrows(compose("a", { adapterWeights: [NaN] }), ParameterError, "must be numbers");
    const huge = { combinationType: "cat", adapterWeights: [1e200] };
    assertThrows(compose("a", huge), BadInputError, "beyond float32");
    assertThrows(compose("a", { savePath: at("a"), force: true }), UsageError, "holds the adapter");
    assertThrows(compose("a", { savePath: at("b") }), UsageError, "exists");
    // One head may come along; a folder is replaced only where that is asked for.
    compose("head,b", { savePath: at("b2") })();
    assertEquals(loadAdapter(at("b2")).adapter.head?.weight.dims, [2, 3]);
    compose("a", { savePath: at("b2"), force: true })();
    assertEquals(loadAdapter(at("b2")).adapter.head, undefined);
    Deno.removeSync(`${at("a")}/graft.json`);
    assertThrows(compose("a"), ParameterError, "give the base with model");
    compose("a", { model })();
    assertEquals(loadAdapter(at("out")).adapter.card?.baseDigest, card.baseDigest);
  }));
