import { assertEquals, assertNotEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { InferenceModel } from "../../src/tasks/inference_model.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const OPTIONS = { maxTokens: 20, temperature: 0 };
const PROMPTS = ["turn on the light", "what is", "the weather in the hills is so"];

/** What a model answers to each prompt with an adapter in its graph. */
async function injected(name: string, adapterPath?: string): Promise<string[]> {
  using model = await InferenceModel.open({ model: modelDir(name), adapterPath, threads: 1 });
  const texts = [];
  for (const prompt of PROMPTS) texts.push((await model.complete(prompt, OPTIONS)).text);
  return texts;
}

for (const name of ["tiny-llama-genai-fp32", "tiny-llama-genai-int4"]) {
  Deno.test(`InferenceModel.loadAdapter() on ${name} answers as with the adapter in its graph, several at once`, async () => {
    await inTempDir(async (folder) => {
      const paths = [`${folder}/a`, `${folder}/b`, `${folder}/c`];
      saveRandomAdapter(paths[0], name, { seed: 1 });
      saveRandomAdapter(paths[1], name, { seed: 2, rank: 9, targetModules: ALL });
      saveRandomAdapter(paths[2], name, {
        seed: 3,
        rank: 2,
        targetModules: ["v_proj", "down_proj"],
      });
      const expected = [await injected(name)];
      for (const path of paths) expected.push(await injected(name, path));
      assertEquals(new Set(expected.map(String)).size, 4);
      using model = await InferenceModel.open({
        model: modelDir(name),
        parallel: 5,
        loraTargetModules: ALL,
        threads: 1,
      });
      const adapters = [undefined];
      const loaded = [
        ...adapters,
        ...await Promise.all(paths.map((path) => model.loadAdapter(path))),
      ];
      assertEquals(loaded.map((adapter) => adapter?.rank), [undefined, 4, 9, 2]);
      const ask = (which: number, prompt: string) =>
        model.complete(prompt, { ...OPTIONS, adapter: loaded[which]?.matrices });
      // One after another, A → B → A, then all at once.
      for (const which of [0, 1, 2, 1, 3, 0]) {
        assertEquals((await ask(which, PROMPTS[0])).text, expected[which][0]);
      }
      for (let round = 0; round < 2; round++) {
        const found = await Promise.all(
          loaded.flatMap((_, which) => PROMPTS.map((prompt) => ask(which, prompt))),
        );
        assertEquals(found.map(({ text }) => text), expected.flat());
      }
    });
  });
}

Deno.test("InferenceModel.loadAdapter() refuses adapters that do not fit, and says which can only be merged", async () => {
  await inTempDir(async (folder) => {
    const name = "tiny-llama-genai-fp32";
    const open = (model: string, loraTargetModules: readonly string[]) =>
      InferenceModel.open({ model: modelDir(model), loraTargetModules, threads: 1 });
    saveRandomAdapter(`${folder}/mlp`, name, { seed: 1, targetModules: ["up_proj"] });
    saveRandomAdapter(`${folder}/other`, name, { seed: 1, baseDigest: `sha256:${"0".repeat(64)}` });
    {
      using model = await open(name, ["q_proj"]);
      assertStringIncludes((await model.loadAdapter(`${folder}/mlp`)).unboundBecause!, "up_proj");
      await assertRejects(
        () => model.loadAdapter(`${folder}/other`),
        BadInputError,
        "another base",
      );
      await assertRejects(() => model.loadAdapter(`${folder}/none`), BadInputError, "none");
    }
    using plain = await open(name, []);
    const without = await plain.loadAdapter(`${folder}/mlp`);
    assertEquals([without.rank, without.matrices], [4, undefined]);
    using growing = await open("tiny-llama-torch-fp32", ["q_proj"]);
    const foreign = growing.loadAdapter(`${folder}/mlp`);
    await assertRejects(() => foreign, BadInputError, "another base");
  });
});

Deno.test("InferenceModel with switched adapters goes on from a beginning only with the same adapter", async () => {
  await inTempDir(async (folder) => {
    const name = "tiny-llama-genai-fp32";
    saveRandomAdapter(`${folder}/a`, name, { seed: 1 });
    using model = await InferenceModel.open({
      model: modelDir(name),
      parallel: 2,
      loraTargetModules: ["q_proj", "v_proj"],
      threads: 1,
    });
    const { matrices } = await model.loadAdapter(`${folder}/a`);
    const base = await model.complete(PROMPTS[2], OPTIONS);
    const adapted = await model.complete(PROMPTS[2], { ...OPTIONS, adapter: matrices });
    assertNotEquals(adapted.text, base.text);
    assertEquals([base.text, adapted.text], [
      (await injected(name))[2],
      (await injected(name, `${folder}/a`))[2],
    ]);
  });
});
