import { assert, assertEquals } from "@std/assert";
import { EXIT } from "../../src/errors.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { graft } from "../helpers/graft.ts";
import { pairs } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const MODEL = modelDir("tiny-bert-dynamic-int8");

/** Texts of two classes that differ in one word. */
function table(from: number, to: number): string {
  const rows = Array.from({ length: to - from }, (_, i) => {
    const n = from + i;
    return n % 2 === 0 ? `my card number ${n} was lost,lost` : `please top up account ${n},topup`;
  });
  return ["text,label", ...rows].join("\n") + "\n";
}

Deno.test("graft merge measures on the adapter's own data and writes a model that names its classes", () =>
  inTempDir(async (dir) => {
    Deno.writeTextFileSync(`${dir}/train.csv`, table(0, 48));
    Deno.writeTextFileSync(`${dir}/valid.csv`, table(48, 64));
    const trained = await graft(
      ...["train", "--model", MODEL, "--data", dir, "--adapter-path", `${dir}/adapter`],
      ...["--iters", "12", "--learning-rate", "0.01", "--batch-size", "8"],
      ...["--target-modules", "query,value", "--modules-to-save", "classifier"],
    );
    assertEquals(trained.code, EXIT.ok, trained.stderr);
    const args = [
      ...["merge", "--model", MODEL, "--adapter-path", `${dir}/adapter`],
      ...["--save-path", `${dir}/merged`, "--no-latency"],
    ];
    const merged = await graft(...args);
    assertEquals(merged.code, EXIT.ok, merged.stderr);
    assert(/→ own bits, \w+/.test(merged.stdout), merged.stdout);
    assert(merged.stdout.includes(`Saved the merged model in ${dir}/merged`));
    const certificate = JSON.parse(Deno.readTextFileSync(`${dir}/merged/certificate.json`));
    const { targets, data, trained_on } = certificate.held_out;
    assertEquals({ targets, data, trained_on }, { targets: 16, data: dir, trained_on: false });
    const config = JSON.parse(Deno.readTextFileSync(`${dir}/merged/config.json`));
    assertEquals(Object.values(config.id2label), ["lost", "topup"]);

    const again = await graft(...args);
    assertEquals(again.code, EXIT.usage);
    assert(again.stderr.includes("it exists"), again.stderr);
    // A merged model is another base: merging into it once more would round twice.
    const twice = await graft(
      ...["merge", "--model", `${dir}/merged`, "--adapter-path", `${dir}/adapter`],
      ...["--save-path", `${dir}/twice`],
    );
    assertEquals(twice.code, EXIT.badInput);
    assert(twice.stderr.includes("belongs to another base"), twice.stderr);
  }));

Deno.test("graft train --adapter-type scales and graft merge write exactly what was trained", () =>
  inTempDir(async (dir) => {
    const model = modelDir("tiny-llama-genai-int4");
    Deno.writeTextFileSync(`${dir}/train.jsonl`, pairs(24));
    Deno.writeTextFileSync(`${dir}/valid.jsonl`, pairs(8));
    const trained = await graft(
      ...["train", "--model", model, "--data", dir, "--adapter-path", `${dir}/adapter`],
      ...["--adapter-type", "scales", "--target-modules", "all-linear", "--iters", "12"],
      ...["--learning-rate", "0.02", "--rank", "4"],
    );
    assertEquals(trained.code, EXIT.ok, trained.stderr);
    const merged = await graft(
      ...["merge", "--model", model, "--adapter-path", `${dir}/adapter`],
      ...["--save-path", `${dir}/merged`, "--no-latency"],
    );
    assertEquals(merged.code, EXIT.ok, merged.stderr);
    assert(merged.stdout.includes("→ own bits, scales alone"), merged.stdout);
    const certificate = JSON.parse(Deno.readTextFileSync(`${dir}/merged/certificate.json`));
    const [{ gain_kept, changed_codes, size_ratio }] = certificate.candidates;
    assertEquals([changed_codes, size_ratio], [0, 1]);
    assert(Math.abs(gain_kept - 1) < 0.01, `gain kept is ${gain_kept}`);
  }));

Deno.test("graft train --adapter-type scales refuses what it cannot adapt, before it reads data", async () => {
  const args = ["train", "--model", modelDir("tiny-llama-genai-int4"), "--data", "nowhere.jsonl"];
  const dropout = await graft(...args, "--adapter-type=scales", "--lora-dropout=0.1");
  assertEquals(dropout.code, EXIT.usage);
  assert(dropout.stderr.includes("--lora-dropout drops inputs"), dropout.stderr);
  const floats = ["train", "--model", modelDir("tiny-llama-torch-fp32"), "--data", "nowhere.jsonl"];
  const unscaled = await graft(...floats, "--adapter-type=scales");
  assertEquals(unscaled.code, EXIT.usage);
  assert(unscaled.stderr.includes("its weight is not quantised; train LoRA"), unscaled.stderr);
});

Deno.test("graft merge refuses flags that contradict each other", async () => {
  const both = await graft("merge", "-m", MODEL, "--dequantize", "--method", "nearest");
  assertEquals(both.code, EXIT.usage);
  assert(both.stderr.includes("Give --dequantize or --method, not both"), both.stderr);
  const weights = await graft("merge", "-m", MODEL, "--adapter-weights", "1,2");
  assertEquals(weights.code, EXIT.usage);
  assert(weights.stderr.includes("as many as --adapter-path"), weights.stderr);
});

Deno.test("graft merge --force takes nothing away that it is made from", () =>
  inTempDir(async (dir) => {
    Deno.mkdirSync(`${dir}/out/adapter`, { recursive: true });
    Deno.writeTextFileSync(`${dir}/out/model.onnx`, "a model by its name");
    const args = ["merge", "-m", MODEL, "--save-path", `${dir}/out`, "--force"];
    const adapter = await graft(...args, "--adapter-path", `${dir}/out/adapter`);
    assertEquals(adapter.code, EXIT.usage);
    assert(adapter.stderr.includes(`it holds the adapter ${dir}/out/adapter`), adapter.stderr);
    const data = await graft(...args, "--adapter-path", dir, "--data", `${dir}/out/train.csv`);
    assertEquals(data.code, EXIT.usage);
    assert(data.stderr.includes(`it holds the data ${dir}/out/train.csv`), data.stderr);
    assertEquals([...Deno.readDirSync(`${dir}/out`)].length, 2);
  }));

Deno.test("graft quantize reports each weight and what it does to the outputs", () =>
  inTempDir(async (dir) => {
    const model = modelDir("tiny-llama-genai-fp32");
    const args = ["quantize", model, "--save-path", `${dir}/q`, "--min-elements", "1024"];
    const done = await graft(...args);
    assertEquals(done.code, EXIT.ok, done.stderr);
    assert(done.stdout.includes("10 weights quantised"), done.stdout);
    assert(/Output "logits" on random tokens: differs by \d/.test(done.stdout), done.stdout);
    const json = await graft(...args, "--bits", "8", "--force", "--json");
    assertEquals(JSON.parse(json.stdout).weights.length, 10);
    const wrong = await graft("quantize", model, "--block-size", "48");
    assertEquals(wrong.code, EXIT.usage);
  }));

Deno.test("graft quantize --use-qdq makes a base that is trained, and merged in its own form", () =>
  inTempDir(async (dir) => {
    const float = modelDir("tiny-llama-genai-fp32");
    const quantize = (...args: string[]) =>
      graft("quantize", float, "--save-path", `${dir}/q`, "--use-qdq", ...args);
    for (const wrong of [["--bits", "8"], ["--accuracy-level", "4"]]) {
      const refused = await quantize(...wrong);
      assertEquals(refused.code, EXIT.usage);
      assert(refused.stderr.includes("--use-qdq"), refused.stderr);
    }
    const made = await quantize("--min-elements", "1024");
    assertEquals(made.code, EXIT.ok, made.stderr);
    const rows = ["red lamp", "blue door"].map((text) => JSON.stringify({ text }));
    Deno.writeTextFileSync(`${dir}/data.jsonl`, rows.join("\n"));
    const model = ["--model", `${dir}/q`, "--adapter-path", `${dir}/adapter`];
    const trained = await graft(
      ...["train", ...model, "--data", `${dir}/data.jsonl`, "--iters", "3", "--batch-size", "2"],
      ...["--learning-rate", "1e-2", "--numeric", "fast"],
    );
    assertEquals(trained.code, EXIT.ok, trained.stderr);
    const merged = await graft(
      ...["merge", ...model, "--save-path", `${dir}/m`, "--method", "nearest", "--force"],
    );
    assertEquals(merged.code, EXIT.ok, merged.stderr);
    for (const folder of ["q", "m"]) {
      using loaded = loadOnnx(`${dir}/${folder}/model.onnx`);
      const blocks = loaded.model.graph.nodes.filter(({ opType, attributes }) =>
        opType === "DequantizeLinear" && attributes.block_size !== undefined
      );
      assertEquals(blocks.length, 10);
    }
  }));
