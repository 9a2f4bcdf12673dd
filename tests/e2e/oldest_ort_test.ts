/**
 * The verbs as whole runs on the oldest supported ONNX Runtime: they do there what they do on the one
 * that graft brings, or say what that release lacks.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { EXIT } from "../../src/errors.ts";
import { withEnvironment } from "../helpers/environment.ts";
import { modelDir, referenceDir } from "../helpers/fixture_models.ts";
import { graft, type GraftResult, graftWith } from "../helpers/graft.ts";
import { saveForOldest } from "../helpers/older_models.ts";
import { olderOrt } from "../helpers/oldest_ort.ts";
import { sampled } from "../helpers/sampled.ts";
import { pairs, readMetrics, requests } from "../helpers/training_runs.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const oldest = await olderOrt();
const library = "path" in oldest ? oldest.path : "";
const [release] = library.match(/\d+\.\d+\.\d+$/) ?? [""];
if ("skipped" in oldest) console.log(`skipped: the verbs on the oldest ORT: ${oldest.skipped}`);

/** Losses of training, which computes in floats on both, may differ by this much. */
const CURVE_TOLERANCE = 1e-4;
/** Difference of what the user's graph gives, relative from 1 on. */
const FLOAT_TOLERANCE = 1e-4;
/** The same where activations are rounded to 8 bits: by the graph, or by the later release's choice. */
const INT8_TOLERANCE = 5e-3;

function test(name: string, body: (path: string) => Promise<void>, only = release): void {
  const ignore = "skipped" in oldest || only !== release;
  Deno.test({ name, ignore, fn: () => inTempDir(body) });
}

/** The same of what the oldest release alone lacks. */
function testOfOldest(name: string, body: (path: string) => Promise<void>): void {
  test(name, body, "1.18.0");
}

async function done(running: Promise<GraftResult>): Promise<GraftResult> {
  const result = await running;
  assertEquals(result.code, EXIT.ok, result.stderr);
  return result;
}

/** glibc then overwrites memory as it is freed, so that what still reads it is seen. */
const FREED = { MALLOC_PERTURB_: "85" };

const onOldest = (...args: string[]) =>
  graftWith(FREED, ...args, "--threads=1", "--ort-lib", library);

/** Runs a verb on the library that graft brings and on the oldest; both must do the work. */
async function onBoth(
  args: (where: "brought" | "oldest") => readonly string[],
): Promise<readonly [brought: GraftResult, oldest: GraftResult]> {
  return await Promise.all([
    done(graft(...args("brought"), "--threads=1")),
    done(onOldest(...args("oldest"))),
  ]);
}

function assertNear(found: number, expected: number, tolerance: number, what: string): void {
  const difference = Math.abs(found - expected) / Math.max(1, Math.abs(expected));
  assert(difference <= tolerance, `${what}: ${found} instead of ${expected}`);
}

/** Trains on both with the same seed and compares every loss. */
async function trainOnBoth(path: string, args: readonly string[]): Promise<void> {
  await onBoth((where) => [
    ...["train", ...args, "--adapter-path", `${path}/${where}`, "--steps-per-report=1"],
    ...["--validation-split=0.2", "--learning-rate=1e-2", "--iters=20"],
  ]);
  const [expected, found] = ["brought", "oldest"].map((where) =>
    readMetrics(`${path}/${where}`).map(({ loss, val_loss }) => loss ?? val_loss!)
  );
  assertEquals(found.length, expected.length);
  found.forEach((loss, i) => assertNear(loss, expected[i], CURVE_TOLERANCE, `loss ${i}`));
  assert(found.at(-1)! < found[0] - 0.3, `${found}`);
}

/** Merges on the oldest what was trained there. */
async function merge(path: string, model: string, method: string): Promise<GraftResult> {
  return await onOldest(
    ...["merge", "--model", model, "--adapter-path", `${path}/oldest`, "--method", method],
    ...["--save-path", `${path}/${method}`, "--no-latency"],
  );
}

const modelBytes = (folder: string) => Deno.readFileSync(`${folder}/model.onnx`);

/** Compares the verbs that read on one model, with an adapter or without. */
async function compareReading(
  model: readonly string[],
  text: readonly string[],
  data: string,
  tolerance: number,
): Promise<void> {
  const [expected, found] = (await onBoth(() => ["eval", ...model, "--data", data, "--json"]))
    .map(({ stdout }) => JSON.parse(stdout));
  assertNear(found.loss, expected.loss, tolerance, `loss of ${model}`);
  const [told, heard] = (await onBoth(() => ["run", ...model, ...text, "--json"]))
    .map(({ stdout }) => JSON.parse(stdout));
  assertEquals(heard.text ?? heard.label, told.text ?? told.label);
  if (told.probability !== undefined) {
    assertNear(heard.probability, told.probability, tolerance, `probability by ${model}`);
  }
}

async function trainInt4(path: string): Promise<void> {
  const model = `${path}/model`;
  saveForOldest("tiny-llama-genai-int4", model);
  const data = `${path}/pairs.jsonl`;
  Deno.writeTextFileSync(data, pairs(20));
  await trainOnBoth(path, ["--model", model, "--data", data, "--target-modules=all-linear"]);

  for (const method of ["nearest", "compensated"]) await done(merge(path, model, method));
  const { runtime } = JSON.parse(Deno.readTextFileSync(`${path}/nearest/certificate.json`));
  assertStringIncludes(runtime, `onnxruntime ${release}`);
  const text = ["What colour is the red lamp?", "-n", "6"];
  for (
    const read of [
      [model, "--adapter-path", `${path}/oldest`],
      [`${path}/nearest`],
      [`${path}/compensated`],
    ]
  ) await compareReading(read, text, data, FLOAT_TOLERANCE);
}

async function trainInt8(path: string): Promise<void> {
  const model = modelDir("tiny-bert-dynamic-int8");
  const data = `${path}/rows.csv`;
  Deno.writeTextFileSync(data, requests(30));
  await trainOnBoth(path, [
    ...["--model", model, "--data", data, "--target-modules=query,value"],
    ...["--modules-to-save=classifier", "--batch-size=8"],
  ]);
  await done(merge(path, model, "auto"));
  const text = ["lock the lamp please"];
  for (const read of [[model, "--adapter-path", `${path}/oldest`], [`${path}/auto`]]) {
    await compareReading(read, text, data, INT8_TOLERANCE);
  }
}

for (const [kind, body] of sampled(Object.entries({ int4: trainInt4, int8: trainInt8 }))) {
  test(
    `graft train, merge, run and eval give on the oldest ORT what they give on the brought one, ${kind}`,
    body,
  );
}

for (
  const { bits, name, tolerance, text, rows } of [
    {
      bits: 4,
      name: "tiny-llama-torch-fp32",
      tolerance: FLOAT_TOLERANCE,
      text: ["my card", "-n", "6"],
      rows: pairs(8),
    },
    {
      // ONNX Runtime 1.30 makes MatMulNBits of DequantizeLinear and MatMul, with rounded activations.
      bits: 8,
      name: "tiny-bert-torch-fp32",
      tolerance: INT8_TOLERANCE,
      text: ["my card"],
      rows: Array.from({ length: 5 }, (_, i) => `{"text": "card ${i}", "label": ${i}}\n`).join(""),
    },
  ]
) {
  test(`graft quantize --bits ${bits} makes on the oldest ORT the model of the brought one, which runs there`, async (path) => {
    await onBoth((where) => [
      ...["quantize", modelDir(name), "--bits", `${bits}`, "--min-elements=1024"],
      ...["--save-path", `${path}/${where}`],
    ]);
    assertEquals(modelBytes(`${path}/oldest`), modelBytes(`${path}/brought`));
    const data = `${path}/rows.jsonl`;
    Deno.writeTextFileSync(data, rows);
    await compareReading([`${path}/oldest`], text, data, tolerance);
  });
}

testOfOldest(
  "graft merge leaves 8 bits out on the oldest ORT and says why, and refuses them where they are asked for",
  async (path) => {
    const model = `${path}/model`;
    saveForOldest("tiny-llama-genai-int4", model);
    const data = `${path}/pairs.jsonl`;
    Deno.writeTextFileSync(data, pairs(4));
    const adapter = `${referenceDir("tiny-llama-int4.all")}/adapter_after_10_steps`;
    // The adapter was trained on other texts: only --force takes what it does to these.
    const args = ["--model", model, "--adapter-path", adapter, "--data", data, "--force"];
    const why =
      /at 8 bits: MatMulNBits has them since ONNX Runtime 1\.22\.0: current value is 1\.18\.0/;
    const auto = ["--save-path", `${path}/auto`, "--no-latency", "--allow-larger"];
    assertMatch((await done(onOldest("merge", ...args, ...auto))).stderr, why);
    const certificate = JSON.parse(Deno.readTextFileSync(`${path}/auto/certificate.json`));
    const methods = certificate.candidates.map(({ method }: { method: string }) => method);
    assert(methods.length > 0 && !methods.includes("8bit"), methods);
    const wide = ["--save-path", `${path}/8bit`, "--method=8bit"];
    const refused = await onOldest("merge", ...args, ...wide);
    assertEquals(refused.code, EXIT.runtime);
    assertMatch(refused.stderr, why);
    assertStringIncludes(refused.stderr, "point --ort-lib or GRAFT_ORT_LIB at a later release");
    assertThrows(() => Deno.statSync(`${path}/8bit`), Deno.errors.NotFound);
  },
);

testOfOldest(
  "GRAFT_ORT_LIB names the library, by which a model of later opsets is refused, and --ort-lib goes before it",
  async () => {
    const given = (path: string, run: () => Promise<GraftResult>) =>
      withEnvironment({ GRAFT_ORT_LIB: path }, run);
    const { code, stderr } = await given(
      library,
      () => graft("run", modelDir("tiny-llama-genai-int4"), "a"),
    );
    assertEquals(code, EXIT.runtime);
    assertStringIncludes(
      stderr,
      `ONNX Runtime 1.18.0 at "${library}" has opsets of ai.onnx up to 21: the model's is 22: ` +
        "point --ort-lib or GRAFT_ORT_LIB at a release that supports the model",
    );
    await done(given(
      "/nowhere/libonnxruntime.so",
      () => onOldest("run", modelDir("tiny-bert-torch-fp32"), "a"),
    ));
  },
);
