import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { BadInputError, EXIT, ParameterError, UsageError } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { composeAdapters } from "../../src/tasks/compose.ts";
import { evaluate } from "../../src/tasks/evaluate.ts";
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
    await composeAdapters(negated);
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

Deno.test("graft compose --data measures each rank as graft eval does, prints JSON and draws", () =>
  inTempDir(async (folder) => {
    const at = (name: string) => `${folder}/${name}`;
    saveRandomAdapter(at("r4"), NAME, { seed: 1, rank: 4 });
    const rows = ["card 1 is lost in town", "a card is red"].map((text) =>
      JSON.stringify({ text })
    );
    Deno.writeTextFileSync(at("test.jsonl"), rows.join("\n") + "\n");
    const args = [
      ...["compose", "--adapter-path", at("r4"), "--model", model, "--threads", "1"],
      ...["--data", at("test.jsonl"), "--ranks", "1,3", "--plot", at("ranks.svg")],
    ];
    const { code, stdout, stderr } = await graftHere(
      [...args, "--rank", "2", "--save-path", at("r2"), "--json"],
    );
    assertEquals([code, stderr], [EXIT.ok, ""]);
    const { rank, kept, measured } = JSON.parse(stdout);
    assertEquals([rank, kept.length], [2, 4]);
    const losses = measured.ranks.map(({ loss }: { loss: number }) => loss);
    assertEquals(measured.ranks.map(({ rank }: { rank: number }) => rank), [1, 2, 3, 4]);
    const lossOf = async (adapterPath?: string) =>
      (await evaluate({ model, data: at("test.jsonl"), adapterPath, threads: 1 })).loss;
    assertEquals(measured.base_loss, await lossOf());
    assertEquals(losses[1], await lossOf(at("r2")));
    assert(Math.abs(losses[3] - await lossOf(at("r4"))) < 1e-4 * losses[3]);
    assertMatch(Deno.readTextFileSync(at("ranks.svg")), /^<svg xmlns.*rank 4: \d/);

    const table = await graftHere([...args, "--save-path", at("r4-again")]);
    assertMatch(table.stdout, /^rank +of ‖ΔW‖ kept +least +in module +loss( +of the gain)?\n/);
    assertMatch(table.stdout, new RegExp(`^ +1 .* ${losses[0].toFixed(4)}`, "m"));
    assertMatch(table.stdout, /^Without the adapter: loss \d/m);
  }));

Deno.test("composeAdapters() ends by a signal and writes nothing", () =>
  inTempDir(async (folder) => {
    saveRandomAdapter(`${folder}/a`, NAME, { seed: 1 });
    const stop = new AbortController();
    const composing = composeAdapters(
      { adapterPath: [`${folder}/a`], savePath: `${folder}/out` },
      {
        signal: stop.signal,
        onEvent: (event) => event.kind === "module" && event.done === 1 && stop.abort(),
      },
    );
    await assertRejects(() => composing, DOMException, "abort");
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["a"]);
  }));

Deno.test("composeAdapters() refuses what cannot be combined, and says why", () =>
  inTempDir(async (folder) => {
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
    await assertRejects(compose("a,other"), BadInputError, "different bases");
    await assertRejects(
      compose("a", { model: modelDir("tiny-llama-genai-fp32") }),
      BadInputError,
      "base",
    );
    await assertRejects(compose("a,scales"), BadInputError, "scales, which cannot be combined");
    await assertRejects(
      compose("head,head"),
      UsageError,
      "both bring a fully trained classification head",
    );
    await assertRejects(compose("head", { adapterWeights: [2] }), UsageError, "use weight 1");
    await assertRejects(
      compose("a,b", { combinationType: "linear" }),
      BadInputError,
      "differ: 4, 2; use",
    );
    await assertRejects(
      compose("a", { combinationType: "cat", rank: 2 }),
      ParameterError,
      "rank is for",
    );
    await assertRejects(
      compose("a", { combinationType: "ties" }),
      ParameterError,
      "density is missing",
    );
    const data = { data: at("none.jsonl") };
    await assertRejects(compose("a", data), ParameterError, "data needs the base to measure on");
    await assertRejects(compose("a", { ranks: [0] }), ParameterError, "ranks must be whole");
    await assertRejects(
      compose("a", { ...data, combinationType: "cat" }),
      ParameterError,
      "data needs a combination that ends in svd",
    );
    await assertRejects(
      compose("a", { combinationType: "sum" }),
      ParameterError,
      "combinationType",
    );
    await assertRejects(compose("a,b", { adapterWeights: [1] }), ParameterError, "as many as");
    await assertRejects(compose("a", { adapterWeights: [NaN] }), ParameterError, "must be numbers");
    const huge = { combinationType: "cat", adapterWeights: [1e200] };
    await assertRejects(compose("a", huge), BadInputError, "beyond float32");
    await assertRejects(
      compose("a", { savePath: at("a"), force: true }),
      UsageError,
      "holds the adapter",
    );
    await assertRejects(compose("a", { savePath: at("b") }), UsageError, "exists");
    // One head may come along; a folder is replaced only where that is asked for.
    await compose("head,b", { savePath: at("b2") })();
    assertEquals(loadAdapter(at("b2")).adapter.head?.weight.dims, [2, 3]);
    await compose("a", { savePath: at("b2"), force: true })();
    assertEquals(loadAdapter(at("b2")).adapter.head, undefined);
    Deno.removeSync(`${at("a")}/graft.json`);
    await assertRejects(compose("a"), ParameterError, "give the base with model");
    await compose("a", { model })();
    assertEquals(loadAdapter(at("out")).adapter.card?.baseDigest, card.baseDigest);
  }));
