import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { join } from "@std/path";
import { EXIT } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { encodeModelWithExternalData } from "../../src/onnx/mod.ts";
import { MINILM_DIR, modelDir, readModel, referenceDir } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { askPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = modelDir("tiny-llama-genai-fp32");
const BERT = modelDir("tiny-bert-torch-fp32");
const LABELS = ["lost", "stolen", "late", "broken", "other"];

const PAIRS = ["my card", "a top up", "the exchange rate", "a refund"].map((thing) => ({
  prompt: `What about ${thing}?`,
  completion: `You asked about ${thing}, and this is the answer to it.`,
}));
const ROWS = ["where is it", "it was stolen", "still waiting", "it fell apart", "lost my card"];

const jsonl = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row) + "\n").join("");

async function evaluated(...args: string[]) {
  const { code, stdout, stderr } = await graft("eval", ...args, "--json");
  assertEquals(code, EXIT.ok, stderr);
  return JSON.parse(stdout);
}

Deno.test("graft eval takes the test part, else the validation part, else the training part", () =>
  inTempDir(async (path) => {
    const found: unknown[] = [];
    for (const part of ["train", "valid", "test"]) {
      Deno.writeTextFileSync(join(path, `${part}.jsonl`), jsonl(PAIRS));
      found.push((await evaluated(LLAMA, "--data", path)).data);
    }
    assertEquals(
      found,
      ["train", "valid", "test"].map((part) => join(path, `${part}.jsonl`)),
    );
  }));

Deno.test("graft eval gives the same figures for any batch size, and other ones with an adapter", () =>
  inTempDir(async (path) => {
    const data = join(path, "pairs.jsonl");
    Deno.writeTextFileSync(data, jsonl(PAIRS));
    const one = await evaluated(LLAMA, "--data", data, "--batch-size", "1");
    const all = await evaluated(LLAMA, "--data", data, "--batch-size", "8");
    assertAlmostEquals(one.loss, all.loss, 1e-5);
    assertAlmostEquals(one.perplexity, Math.exp(one.loss), 1e-9);
    assertEquals(one.target_tokens, all.target_tokens);
    const everything = await evaluated(LLAMA, "--data", data, "--no-mask-prompt");
    assert(everything.target_tokens > one.target_tokens);
    const adapter = `${referenceDir("tiny-llama-fp32.all")}/adapter_after_10_steps`;
    const adapted = await evaluated(LLAMA, "--data", data, "--adapter-path", adapter);
    assertEquals(adapted.adapter, adapter);
    assert(Math.abs(adapted.loss - one.loss) > 1e-3);
  }));

testWithPython(
  ["torch", "transformers"],
  "graft eval gives transformers' loss over the completions",
  () =>
    inTempDir(async (path) => {
      const data = join(path, "pairs.jsonl");
      Deno.writeTextFileSync(data, jsonl(PAIRS));
      const expected = await askPython<{ loss: number; count: number }>("completion_loss.py", {
        base: modelDir("tiny-llama-hf"),
        data,
      });
      const found = await evaluated(LLAMA, "--data", data);
      assertEquals(found.target_tokens, expected.count);
      assertAlmostEquals(found.loss, expected.loss, 1e-5);
    }),
);

Deno.test("graft eval scores classes under the adapter's names, as graft run gives them", () =>
  inTempDir(async (path) => {
    const folder = `${referenceDir("tiny-bert-fp32.qv")}/adapter_after_10_steps`;
    const { adapter } = loadAdapter(folder);
    const baseDigest = modelDigest(readModel(BERT));
    const adapterPath = join(path, "adapter");
    const card = { baseDigest, task: "classification", labels: LABELS, config: {} } as const;
    saveAdapter(adapterPath, { ...adapter, card });
    // Rows under the class that the model gives them: all of them right, then all of them wrong.
    const told: string[] = [];
    for (const text of ROWS) {
      const { stdout } = await graft("run", BERT, text, "--adapter-path", adapterPath);
      told.push(stdout.split("\t")[0]);
    }
    const wrong = told.map((label) => LABELS[(LABELS.indexOf(label) + 1) % LABELS.length]);
    const data = join(path, "rows.csv");
    const figures = async (labels: readonly string[]) => {
      const lines = ROWS.map((text, i) => `${text},${labels[i]}`);
      Deno.writeTextFileSync(data, ["text,label", ...lines].join("\n"));
      return await evaluated(BERT, "--data", data, "--adapter-path", adapterPath);
    };
    const right = await figures(told);
    assertEquals([right.accuracy, right.macro_f1, right.rows], [1, 1, ROWS.length]);
    const none = await figures(wrong);
    assertEquals([none.accuracy, none.macro_f1], [0, 0]);
    assert(none.loss > right.loss);
  }));

Deno.test("graft eval prints figures for people on standard output", () =>
  inTempDir(async (path) => {
    const data = join(path, "rows.jsonl");
    Deno.writeTextFileSync(data, jsonl(ROWS.map((text, i) => ({ text, label: i % 5 }))));
    const { code, stdout, stderr } = await graft("eval", BERT, "--data", data);
    assertEquals(code, EXIT.ok, stderr);
    const lines = stdout.trim().split("\n").map((line) => line.split(/\s{2,}/)[0]);
    assertEquals(lines, ["loss", "accuracy", "macro F1", "rows"]);
    assertStringIncludes(stderr, "5 rows");
  }));

Deno.test("graft eval refuses models and data it cannot score", () =>
  inTempDir(async (path) => {
    const pairs = join(path, "pairs.jsonl");
    Deno.writeTextFileSync(pairs, jsonl(PAIRS));
    const rows = join(path, "rows.jsonl");
    Deno.writeTextFileSync(rows, jsonl(ROWS.map((text) => ({ text, label: "odd" }))));
    const cases: readonly (readonly [string[], number, string])[] = [
      [["--data", pairs], EXIT.usage, "graft eval needs a model"],
      [[LLAMA], EXIT.usage, "--data"],
      [[LLAMA, "--data", "/nowhere"], EXIT.badInput, "There is no data at /nowhere"],
      [[MINILM_DIR, "--data", rows], EXIT.usage, "gives no scores"],
      [[BERT, "--data", pairs], EXIT.badInput, "for classification"],
      [[BERT, "--data", rows], EXIT.usage, "Cannot tell which scores belong"],
    ];
    for (const [args, exit, message] of cases) {
      const { code, stdout, stderr } = await graft("eval", ...args);
      assertEquals([code, stdout], [exit, ""], stderr);
      assertStringIncludes(stderr, message);
    }
  }));

Deno.test("graft eval of a model that computes NaN ends with an error, not with figures", () =>
  inTempDir(async (path) => {
    const base = readModel(LLAMA);
    // The last weight of the final normalisation.
    const initializers = new Map(base.graph.initializers);
    const [name, norm] = [...initializers].find(([name]) => name.includes("final_norm"))!;
    initializers.set(name, float32(norm.dims, new Float32Array(norm.dims[0]).fill(NaN)));
    const { data, model } = encodeModelWithExternalData(
      { ...base, graph: { ...base.graph, initializers } },
      "model.onnx.data",
    );
    const folder = join(path, "model");
    Deno.mkdirSync(folder);
    for (const { name } of Deno.readDirSync(LLAMA)) {
      if (!name.startsWith("model.")) Deno.copyFileSync(join(LLAMA, name), join(folder, name));
    }
    Deno.writeFileSync(join(folder, "model.onnx"), model);
    Deno.writeFileSync(join(folder, "model.onnx.data"), concat(data));
    Deno.writeTextFileSync(join(path, "test.jsonl"), jsonl(PAIRS));
    for (const flags of [[], ["--json"]]) {
      const { code, stdout, stderr } = await graft("eval", folder, "--data", path, ...flags);
      assertEquals([code, stdout], [EXIT.badInput, ""]);
      assertStringIncludes(stderr, `Cannot evaluate ${folder}: the loss is NaN`);
    }
  }));
