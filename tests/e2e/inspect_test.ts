import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { EXIT } from "../../src/errors.ts";
import { encodeModel } from "../../src/onnx/mod.ts";
import { withConstantNodes } from "../helpers/constant_nodes.ts";
import { withEnvironment } from "../helpers/environment.ts";
import { MINILM_DIR, modelDir, readModel, referenceDir } from "../helpers/fixture_models.ts";
import { graft, graftProcess } from "../helpers/graft.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const inspect = (...args: string[]) => inspectWith({}, ...args);

/** Runs `graft inspect` with more environment. */
async function inspectWith(env: Readonly<Record<string, string>>, ...args: string[]) {
  const { code, stdout, stderr } = await withEnvironment(env, () => graft("inspect", ...args));
  return { code, out: stdout, err: stderr };
}

async function inspectJson(...args: string[]) {
  const { code, out, err } = await inspect(...args, "--json");
  assertEquals(code, EXIT.ok, err);
  return JSON.parse(out);
}

/** Parameters of the checkpoints, which the fixtures' graphs must be counted to have. */
const PARAMETERS = {
  "tiny-llama-genai-fp32": 139_584,
  "tiny-llama-genai-int4": 139_584,
  "tiny-bert-torch-fp32": 112_645,
  "tiny-bert-dynamic-int8": 112_645,
};

for (const [name, parameters] of Object.entries(PARAMETERS)) {
  Deno.test(`inspect counts the parameters of ${name} whatever they are stored in`, async () => {
    const found = await inspectJson(modelDir(name));
    assertEquals([found.parameters, found.layers, found.unsupported], [parameters, 2, []]);
  });
}

Deno.test("inspect --plan prints what a step computes, call by call, and the passes to it", async () => {
  const model = modelDir("tiny-llama-genai-int4");
  const size = ["--plan", "--batch-size", "1", "--max-seq-length", "16"];
  const { code, out } = await inspect(model, ...size);
  assertEquals(code, EXIT.ok);
  assertStringIncludes(out, "Plan of a training step: 1×16 tokens, 32 rows in the loss");
  assertStringIncludes(out, "arithmetic  products in floats");
  assertStringIncludes(out, "join-gates ");
  assertMatch(out, /forward to .* \(session 1\)\n +operators +.*MatMul/);
  assertMatch(out, /leaves +float16:.*, kept for call \d/);
  const found = await inspectJson(model, ...size);
  assertEquals([found.path, found.shape.batch, found.shape.length], [model, 1, 16]);
  assertEquals(found.calls.length, 2 * found.segments - 1);
  assertEquals(found.calls.at(-1).label.startsWith("backward from "), true);
  const whole = await inspect(model, ...size, "--json");
  assertEquals(JSON.parse(whole.out), found);
});

Deno.test("inspect --plan leaves out the passes that GRAFT_PASSES names, and refuses other names", async () => {
  const args = [modelDir("tiny-llama-genai-int4"), "--plan", "--max-seq-length", "16"];
  const left = await inspectWith({ GRAFT_PASSES: "-join-gates" }, ...args);
  assertMatch(left.out, /join-gates .*\(left out\)/);
  const refused = await inspectWith({ GRAFT_PASSES: "-lower" }, ...args);
  assertEquals([refused.code, refused.out], [EXIT.badInput, ""]);
  assertStringIncludes(refused.err, "Cannot read GRAFT_PASSES: no plan can be made without");
  assertStringIncludes(refused.err, "-select-rows, -fold-blocks");
});

Deno.test("inspect counts weights that Constant nodes hold", () =>
  inTempDir(async (dir) => {
    const model = withConstantNodes(readModel(modelDir("tiny-bert-torch-fp32")));
    Deno.writeFileSync(`${dir}/model.onnx`, encodeModel(model) as Uint8Array<ArrayBuffer>);
    const { parameters, targets } = await inspectJson(dir);
    assertEquals(parameters, PARAMETERS["tiny-bert-torch-fp32"]);
    assert(targets.length > 0);
  }));

Deno.test("inspect counts trainable parameters as the oracle does", async () => {
  const oracle = JSON.parse(
    Deno.readTextFileSync(`${referenceDir("tiny-llama-fp32.all")}/oracle.json`),
  );
  const found = await inspectJson(
    modelDir("tiny-llama-genai-fp32"),
    "--rank",
    String(oracle.rank),
    "--target-modules",
    oracle.targets.join(),
  );
  assertEquals(found.lora.trainableParameters, oracle.trainable_parameters);
  assertEquals(found.lora.modules, 14);
});

Deno.test("inspect lists targets under the names --target-modules takes", async () => {
  const { targets } = await inspectJson(modelDir("tiny-llama-genai-int4"));
  assertEquals(
    targets.map((
      { name, count, shapes, bits }: Record<string, unknown>,
    ) => [name, count, shapes, bits]),
    [
      ["q_proj", 2, [[64, 64]], [4]],
      ["k_proj", 2, [[32, 64]], [4]],
      ["v_proj", 2, [[32, 64]], [4]],
      ["o_proj", 2, [[64, 64]], [4]],
      ["gate_proj", 2, [[128, 64]], [4]],
      ["up_proj", 2, [[128, 64]], [4]],
      ["down_proj", 2, [[64, 128]], [4]],
      ["lm_head", 1, [[512, 64]], [4]],
    ],
  );
});

Deno.test("inspect shows a model to people", async () => {
  const { code, out } = await inspect(MINILM_DIR);
  assertEquals(code, EXIT.ok);
  for (
    const part of [
      "parameters  22,565,376",
      "layers      6",
      "input_ids  int64[batch_size, sequence_length]",
      "MatMulInteger 36",
      "attention.output.dense",
      "LoRA of rank 8 on q,v: 73,728 trainable parameters",
      "Training on 4×256 tokens takes about",
    ]
  ) assert(out.includes(part), `${part} is missing in\n${out}`);
});

Deno.test("inspect plans a step: activations grow with batch and length, the adapter does not", async () => {
  const at = async (batch: string, length: string) =>
    (await inspectJson(MINILM_DIR, "--batch-size", batch, "--max-seq-length", length)).training;
  const small = await at("1", "32");
  const large = await at("16", "128");
  assert(large.savedBytes > 10 * small.savedBytes);
  const { peakBytes, weightBytes, savedBytes, temporaryBytes, adapterBytes, baseBytes } = large;
  assertEquals(
    peakBytes,
    Math.ceil(weightBytes + savedBytes + temporaryBytes + adapterBytes + baseBytes),
  );
  assertEquals(large.adapterBytes, small.adapterBytes);
});

Deno.test("inspect plans a step of as many tokens as the model takes, at most 256", async () => {
  const { training } = await inspectJson(modelDir("tiny-bert-torch-fp32"));
  assertEquals([training.length, training.problem], [128, undefined]);
  assertEquals((await inspectJson(modelDir("tiny-llama-genai-int4"))).training.length, 256);
});

Deno.test("inspect escapes control characters in a file's words, in results and in errors", () =>
  inTempDir(async (dir) => {
    const evil = "\x1b]0;owned\x07\x1b[2J";
    const model = readModel(modelDir("tiny-bert-dynamic-int8"));
    const [first, ...inputs] = model.graph.inputs;
    const named = (name: string) => name === first.name ? evil : name;
    const graph = {
      ...model.graph,
      inputs: [{ ...first, name: evil }, ...inputs],
      nodes: model.graph.nodes.map((node) => ({ ...node, inputs: node.inputs.map(named) })),
    };
    const path = `${dir}/${"\x1b[31m"}.onnx`;
    Deno.writeFileSync(path, encodeModel({ ...model, graph }));
    for (const args of [[path], [path, "--graph"], [`${path}.missing`]]) {
      const { stdout, stderr } = await graftProcess("inspect", ...args);
      assert(!(stdout + stderr).includes("\x1b"), stdout + stderr);
      assert((stdout + stderr).includes("\\u001b["), stdout + stderr);
    }
  }));

Deno.test("inspect --graph prints one line a node", async () => {
  const { out } = await inspect(modelDir("tiny-llama-genai-int4"), "--graph");
  assert(out.split("\n").filter((line) => line.includes("MatMulNBits")).length === 11, out);
});

Deno.test("inspect --operators lists what graft can train through", async () => {
  const { out } = await inspect("--operators");
  const names = out.trim().split("\n");
  assert(names.includes("MatMul") && names.includes("com.microsoft.MatMulNBits"));
});

const WRONG: readonly (readonly [string[], number, string])[] = [
  [[], EXIT.usage, "graft inspect needs a model"],
  [["/nowhere"], EXIT.badInput, 'Cannot load model "/nowhere"'],
  [[MINILM_DIR, "--target-modules", "q_proj"], EXIT.usage, "no such module"],
  [[referenceDir("tiny-llama-fp32.qv")], EXIT.badInput, "the folder has no .onnx file"],
];

for (const [args, exit, message] of WRONG) {
  Deno.test(`inspect says what is wrong with ${args.at(-1) ?? "no arguments"}`, async () => {
    const { code, err } = await inspect(...args);
    assertEquals(code, exit);
    assert(err.includes(message), err);
  });
}
