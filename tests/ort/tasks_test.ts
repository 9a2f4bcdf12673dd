/** Calls of the library with paths and settings: their checks, events, results and cancellation. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import {
  BadInputError,
  evaluate,
  type EvaluateEvent,
  fineTune,
  InferenceModel,
  inspect,
  merge,
  type MergeEvent,
  type MergeInput,
  ParameterError,
  pull,
  quantize,
  type QuantizeInput,
} from "../../mod.ts";
import { MINILM_DIR, modelDir } from "../helpers/fixture_models.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const LLAMA = modelDir("tiny-llama-genai-fp32");
const INT4 = modelDir("tiny-llama-genai-int4");

const ROWS = Array.from({ length: 6 }, (_, i) => ({ text: `card number ${i} is lost in town` }));

/** A data folder whose held-out rows are those of training. */
function writeRows(folder: string): string {
  Deno.mkdirSync(folder);
  for (const part of ["train", "valid"]) {
    const lines = ROWS.map((row) => JSON.stringify(row) + "\n").join("");
    Deno.writeTextFileSync(join(folder, `${part}.jsonl`), lines);
  }
  return folder;
}

/** Asserts that a call is refused for a parameter. */
async function assertRefused(call: () => Promise<unknown>, parameter: string, words: string) {
  const error = await assertRejects(call, ParameterError, words);
  assertEquals([error.parameter, error.exitCode], [parameter, 2]);
}

const quantizing = (settings: Partial<QuantizeInput>) => () =>
  quantize({ model: LLAMA, savePath: "/nowhere/model", ...settings });

const WRONG: readonly (readonly [Partial<QuantizeInput>, string, string])[] = [
  [{ bits: 6 }, "bits", "bits must be one of 4, 8: current value is 6"],
  [{ blockSize: 48 }, "blockSize", "blockSize must be a power of two: current value is 48"],
  [{ blockSize: 8 }, "blockSize", "blockSize must be >= 16: current value is 8"],
  [{ bits: 8, useQdq: true }, "useQdq", "useQdq is for 4 bits"],
  [{ useQdq: true, accuracyLevel: 4 }, "accuracyLevel", "which useQdq does not write"],
  [{ block_size: 32 } as Partial<QuantizeInput>, "block_size", 'Unknown parameter "block_size"'],
];

for (const [settings, parameter, words] of WRONG) {
  Deno.test(`quantize() refuses ${JSON.stringify(settings)} and names the parameter`, async () => {
    await assertRefused(quantizing(settings), parameter, words);
  });
}

Deno.test("quantize() reports each weight, and ends by its signal with nothing left", () =>
  inTempDir(async (folder) => {
    const settings = { model: LLAMA, minElements: 1024 };
    const done: number[] = [];
    let total = 0;
    const { weights, sizeBytesBefore, sizeBytesAfter } = await quantize(
      { ...settings, savePath: join(folder, "int4") },
      {
        onEvent: (event) => {
          if (event.kind === "weight") [total] = [event.total, done.push(event.done)];
        },
      },
    );
    assertEquals(done, weights.map((_, i) => i + 1));
    assertEquals(total, weights.length);
    assert(sizeBytesAfter < sizeBytesBefore);

    const controller = new AbortController();
    const reason = new Error("enough");
    const stopped = quantize({ ...settings, savePath: join(folder, "none") }, {
      onEvent: () => controller.abort(reason),
      signal: controller.signal,
    });
    assertEquals(await assertRejects(() => stopped), reason);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["int4"]);
  }));

Deno.test("inspect() predicts rows of 256 tokens, or as many as the model takes or the caller says", () => {
  const lengthOf = (model: string, maxSeqLength?: number) =>
    inspect({ model, maxSeqLength }).training.length;
  assertEquals(lengthOf(MINILM_DIR), 256);
  assertEquals(lengthOf(MINILM_DIR, 32), 32);
  const error = assertThrows(() => inspect({ model: MINILM_DIR, rank: 0 }), ParameterError);
  assertEquals(error.message, "rank must be >= 1: current value is 0");
});

Deno.test("evaluate() reports what it encoded and each batch, and ends by its signal", () =>
  inTempDir(async (folder) => {
    const data = writeRows(join(folder, "data"));
    const events: EvaluateEvent[] = [];
    const settings = { model: LLAMA, data, batchSize: 2 };
    const found = await evaluate(settings, { onEvent: (event) => events.push(event) });
    assertEquals([found.task, found.dataPath], ["causal", join(data, "valid.jsonl")]);
    assertEquals(found.perplexity, Math.exp(found.loss));
    const encoded = events.find((event) => event.kind === "encoded");
    assertEquals([encoded?.path, encoded?.report.rows], [found.dataPath, ROWS.length]);
    assertEquals(
      events.flatMap((event) => event.kind === "batch" ? [[event.batch, event.batches]] : []),
      [[1, 3], [2, 3], [3, 3]],
    );

    const controller = new AbortController();
    const stopped = evaluate(settings, {
      onEvent: ({ kind }) => kind === "batch" && controller.abort(new Error("enough")),
      signal: controller.signal,
    });
    await assertRejects(() => stopped, Error, "enough");
    await assertRejects(() => evaluate({ model: MINILM_DIR, data }), Error, "(adapterPath)");
  }));

Deno.test("merge() checks its settings, reports what it does, and ends by its signal with nothing left", () =>
  inTempDir(async (folder) => {
    const data = writeRows(join(folder, "data"));
    const adapterPath = join(folder, "adapters");
    await fineTune({ model: INT4, data, iters: 2, adapterPath });
    const settings: MergeInput = {
      model: INT4,
      adapterPath: [adapterPath],
      savePath: join(folder, "merged"),
      method: "nearest",
      latency: false,
      force: true,
    };
    const merging = (more: Partial<MergeInput>) => () => merge({ ...settings, ...more });
    await assertRefused(merging({ adapterPath: [] }), "adapterPath", "There must be an adapter");
    await assertRefused(
      merging({ adapterWeights: [1, 1] }),
      "adapterWeights",
      "adapterWeights must be as many as adapterPath (1): current value is 1,1",
    );
    await assertRefused(
      merging({ adapterWeights: [NaN] }),
      "adapterWeights",
      "adapterWeights must be numbers: current value is NaN",
    );
    await assertRefused(merging({ valBatches: 0 }), "valBatches", "valBatches must be >= 1, or -1");
    await assertRefused(
      merging({ method: "exact" as MergeInput["method"] }),
      "method",
      "method must be one of auto, nearest",
    );

    const events: MergeEvent[] = [];
    const certificate = await merge(settings, { onEvent: (event) => events.push(event) });
    assertEquals(certificate.chosen.method, "nearest");
    const kinds = new Set(events.map(({ kind }) => kind));
    assertEquals([...kinds].sort(), ["encoded", "finding", "progress"]);
    assert(Deno.statSync(join(settings.savePath!, "certificate.json")).isFile);

    const controller = new AbortController();
    const stopped = merge({ ...settings, savePath: join(folder, "none") }, {
      onEvent: ({ kind }) => kind === "progress" && controller.abort(new Error("enough")),
      signal: controller.signal,
    });
    await assertRejects(() => stopped, Error, "enough");
    assertEquals(
      [...Deno.readDirSync(folder)].map(({ name }) => name).sort(),
      ["adapters", "data", "merged"],
    );
  }));

Deno.test("InferenceModel.answer() puts a prompt through the template, and goes on from it with raw", async () => {
  using model = await InferenceModel.open({ model: LLAMA, threads: 1 });
  assertEquals([model.kind, model.hasTemplate], ["causal", true]);
  const options = { maxTokens: 4 };
  const pieces: string[] = [];
  const answer = await model.answer("my card", options, (piece) => void pieces.push(piece));
  assertEquals(pieces.join(""), answer.text);
  assertEquals(answer, await model.chat([{ role: "user", content: "my card" }], options));
  const raw = await model.answer("my card", { ...options, raw: true });
  assertEquals(raw, await model.complete("my card", options));
  assert(raw.promptTokens < answer.promptTokens);
  const system = await model.answer("my card", { ...options, system: "be brief" });
  assert(system.promptTokens > answer.promptTokens);
  const error = await assertRejects(
    () => model.answer("my card", { system: "be brief", raw: true }),
    ParameterError,
  );
  assertEquals(error.message, "raw takes the text as it is: leave system out");
});

Deno.test("InferenceModel.open() refuses a context larger than the model's", async () => {
  using model = await InferenceModel.open({ model: MINILM_DIR });
  const most = model.contextSize!;
  await assertRefused(
    () => InferenceModel.open({ model: MINILM_DIR, ctxSize: most + 1 }),
    "ctxSize",
    `ctxSize must be <= ${most}, the longest text the model takes: current value is ${most + 1}`,
  );
});

Deno.test("InferenceModel.embed() gives vectors of length 1, and says where it cut the text", async () => {
  using model = await InferenceModel.open({ model: MINILM_DIR, ctxSize: 8 });
  const { vector, truncated } = await model.embed("the hall light is on");
  assert(Math.abs(Math.hypot(...vector) - 1) < 1e-5);
  assertEquals(truncated, false);
  assertEquals((await model.embed("the hall light is on and on and on and on")).truncated, true);
  await assertRejects(() => model.classify("the hall light"), BadInputError, "Cannot classify");
});

Deno.test("pull() refuses a hub's parameters for a folder, and names that cannot be one", async () => {
  const from = { source: MINILM_DIR };
  await assertRefused(
    () => pull({ ...from, revision: "main" }),
    "revision",
    "revision is for a hub's models",
  );
  await assertRefused(() => pull({ ...from, name: "a b" }), "name", "name must be letters, digits");
  await assertRefused(
    () => pull({ source: "org/name", name: "mine" }),
    "name",
    "name is for folders and archives",
  );
});
