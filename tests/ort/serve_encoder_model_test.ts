import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { LocalText } from "../../src/data/mod.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { BadInputError } from "../../src/errors.ts";
import type { Model } from "../../src/graph/types.ts";
import { float32, int64, toNumbers } from "../../src/graph/tensor.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { readTextFiles } from "../../src/model/tokenizer_files.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { withSentenceEmbedding } from "../../src/serve/embedding_graph.ts";
import { encodeTexts } from "../../src/serve/encode_text.ts";
import { EncoderModel } from "../../src/serve/encoder_model.ts";
import { MINILM_DIR, modelDir, readModel, referenceDir } from "../helpers/fixture_models.ts";
import { tinyModel } from "../helpers/ort.ts";
import { oracleBatch, readOracle, readTensors } from "../helpers/oracle.ts";

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + v * b[i], 0);

Deno.test("EncoderModel.classify() gives the softmax of PyTorch's logits, without and with an adapter", async () => {
  const dir = referenceDir("tiny-bert-fp32.qv");
  const tensors = readTensors(`${dir}/tensors.safetensors`);
  const batch = oracleBatch(readOracle("tiny-bert-fp32.qv"), tensors);
  const base = readModel(modelDir("tiny-bert-torch-fp32"));
  const { adapter } = loadAdapter(`${dir}/adapter_after_10_steps`);
  using runner = createOrtRunner({ threads: 1 });
  for (
    const [model, reference] of [
      [base, "logits_base"],
      [applyAdapter(base, adapter).model, "logits_after_10_steps"],
    ] as const
  ) {
    using executable = await runner.compile(model);
    const rows = await new EncoderModel(runner, executable, model.graph).classify(batch);
    const logits = Float64Array.from(toNumbers(tensors.get(reference)!));
    rows.forEach((row, r) => {
      const own = logits.subarray(r * 5, (r + 1) * 5).map(Math.exp);
      const sum = own.reduce((a, v) => a + v, 0);
      row.forEach((probability, c) => assertAlmostEquals(probability, own[c] / sum, 1e-5));
    });
  }
});

Deno.test("EncoderModel.embed() gives vectors of length 1 that know what is alike", async () => {
  const model = readModel(MINILM_DIR);
  const text = new LocalText(readTextFiles(MINILM_DIR));
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model);
  using encoder = new EncoderModel(runner, executable, model.graph);
  const embed = async (sentence: string) =>
    (await encoder.embed((await encodeTexts(text, [sentence])).batch))[0];
  const cat = await embed("A cat sleeps on the sofa.");
  const kitten = await embed("The kitten is napping on the couch.");
  const stocks = await embed("Stock markets fell sharply on Monday.");
  for (const vector of [cat, kitten, stocks]) assertAlmostEquals(dot(vector, vector), 1, 1e-5);
  assert(dot(cat, kitten) > 0.5 && dot(cat, stocks) < 0.2);
});

Deno.test("EncoderModel.embed() takes the mean over real tokens, for each of several texts", async () => {
  const model = tinyModel({
    inputs: {
      input_ids: ["int64", ["batch", "length"]],
      attention_mask: ["int64", ["batch", "length"]],
    },
    initializers: { table: float32([4, 2], [90, 90, 1, 0, 3, 4, 0, 2]) },
    nodes: [["Gather", ["table", "input_ids"], ["last_hidden_state"]]],
    outputs: { last_hidden_state: ["float32", ["batch", "length", 2]] },
  });
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model);
  const vectors = await new EncoderModel(runner, executable, model.graph).embed({
    inputIds: int64([2, 3], [1, 2, 0, 3, 1, 3]),
    attentionMask: int64([2, 3], [1, 1, 0, 1, 1, 1]),
    tokenCount: 5,
  });
  // Sums (4, 4) and (1, 4), at length 1.
  const expected = [[Math.SQRT1_2, Math.SQRT1_2], [1 / Math.sqrt(17), 4 / Math.sqrt(17)]];
  vectors.forEach((vector, i) =>
    vector.forEach((value, j) => assertAlmostEquals(value, expected[i][j], 1e-6))
  );
});

Deno.test("withSentenceEmbedding() gives what pooling the states gives, for texts of any length", async () => {
  const model = readModel(MINILM_DIR);
  const text = new LocalText(readTextFiles(MINILM_DIR));
  const pooling = withSentenceEmbedding(model);
  using runner = createOrtRunner({ threads: 1 });
  const embedWith = async (model: Model, batch: TokenBatch) => {
    using executable = await runner.compile(model);
    return await new EncoderModel(runner, executable, model.graph).embed(batch);
  };
  const rows = await text.encode(["A cat sleeps.", "Stock markets fell sharply on Monday."]);
  const length = Math.max(...rows.map((row) => row.length));
  const at = (value: (row: readonly number[], t: number) => number) =>
    int64([2, length], rows.flatMap((row) => Array.from({ length }, (_, t) => value(row, t))));
  const batch = {
    inputIds: at((row, t) => row[t] ?? 0),
    attentionMask: at((row, t) => t < row.length ? 1 : 0),
    tokenTypeIds: at(() => 0),
    tokenCount: rows[0].length + rows[1].length,
  };
  const before = runner.traffic.readBytes;
  const pooled = await embedWith(pooling, batch);
  const read = runner.traffic.readBytes - before;
  assert(read <= 2 * 384 * 4, `a vector a text is all that is read, not ${read} bytes`);
  const states = await embedWith(model, batch);
  pooled.forEach((vector, s) =>
    vector.forEach((value, i) => assertAlmostEquals(value, states[s][i], 1e-5))
  );
  assertEquals(withSentenceEmbedding(pooling), pooling);
});

Deno.test("EncoderModel gives each of several texts what it gives it alone, in their order", async () => {
  const model = readModel(modelDir("tiny-bert-torch-fp32"));
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model);
  using encoder = new EncoderModel(runner, executable, model.graph);
  const lengths = [50, 4, 48, 3, 5, 50];
  const rows = lengths.map((length, r) =>
    Array.from({ length }, (_, t) => 5 + (r * 31 + t * 17) % 400)
  );
  const batchOf = (rows: readonly (readonly number[])[]) => {
    const length = Math.max(...rows.map((row) => row.length));
    const at = (value: (row: readonly number[], t: number) => number) =>
      int64(
        [rows.length, length],
        rows.flatMap((row) => Array.from({ length }, (_, t) => value(row, t))),
      );
    return {
      inputIds: at((row, t) => row[t] ?? 0),
      attentionMask: at((row, t) => t < row.length ? 1 : 0),
      tokenCount: rows.reduce((sum, row) => sum + row.length, 0),
    };
  };
  const runs: (readonly number[])[] = [];
  const bind = executable.bind.bind(executable);
  executable.bind = (feeds, outputs) => {
    runs.push(feeds.input_ids.dims);
    return bind(feeds, outputs);
  };
  const together = await encoder.classify(batchOf(rows));
  // Two runs of one text find out what padding does.
  assertEquals(runs, [[1, 3], [1, 50], [3, 50], [3, 5]]);
  for (const [r, row] of rows.entries()) {
    const [alone] = await encoder.classify(batchOf([row]));
    alone.forEach((value, i) => assertAlmostEquals(together[r][i], value, 1e-5));
  }
});

Deno.test("EncoderModel names the outputs it looked for and those there are", async () => {
  const model = readModel(MINILM_DIR);
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model);
  using encoder = new EncoderModel(runner, executable, model.graph);
  const { batch } = await encodeTexts(new LocalText(readTextFiles(MINILM_DIR)), ["a"]);
  await assertRejects(
    () => encoder.classify(batch),
    BadInputError,
    "Cannot classify: the model has none of the outputs logits: its outputs are last_hidden_state",
  );
});

Deno.test("encodeTexts() cuts a text that is too long, keeps its special tokens, and pads shorter ones", async () => {
  const text = new LocalText(readTextFiles(MINILM_DIR));
  const whole = await encodeTexts(text, ["one two three four five"]);
  assertEquals([whole.truncated, whole.lengths], [[false], [7]]);
  const cut = await encodeTexts(text, ["one two three four five", "one"], 5);
  assertEquals([cut.truncated, cut.lengths], [[true, false], [5, 3]]);
  const ids = Array.from(toNumbers(cut.batch.inputIds));
  assertEquals([ids[0], ids[4], ids[7]], [101, 102, 102]);
  assertEquals(Array.from(toNumbers(cut.batch.attentionMask)), [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
});

Deno.test("EncoderModel gives texts that are asked for at once what it gives them one by one", async () => {
  const model = readModel(modelDir("tiny-bert-torch-fp32"));
  using runner = createOrtRunner({ threads: 1 });
  using executable = await runner.compile(model);
  using encoder = new EncoderModel(runner, executable, model.graph);
  // More shapes than stay bound, and several texts of each.
  const batches = Array.from({ length: 280 }, (_, i) => {
    const dims = [1, 2 + i % 70];
    return {
      inputIds: int64(dims, Array.from({ length: dims[1] }, (_, t) => 5 + (i * 31 + t * 17) % 400)),
      attentionMask: int64(dims, new Array(dims[1]).fill(1)),
      tokenCount: dims[1],
    };
  });
  const atOnce = (await Promise.all(batches.map((batch) => encoder.classify(batch)))).flat();
  for (const [i, batch] of batches.entries()) {
    const [alone] = await encoder.classify(batch);
    alone.forEach((value, c) => assertAlmostEquals(atOnce[i][c], value, 1e-6));
  }
  assert(new Set(atOnce.map((row) => row[0])).size > 200, "the texts' classes differ");
});
