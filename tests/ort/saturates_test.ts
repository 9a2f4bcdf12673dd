import { assert, assertEquals } from "@std/assert";
import {
  readModel as readMessage,
  writeModel as writeMessage,
} from "../../scripts/campaigns/hostile/mutators/messages.ts";
import { encodeModelWithExternalData } from "../../src/onnx/mod.ts";
import { type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { saturates } from "../../src/runtime/saturates.ts";
import { signedProductOptions, signedProductOptionsOf } from "../../src/runtime/signed_products.ts";
import { formOfProducts } from "../../src/plan/arithmetic.ts";
import { chooseArithmetic } from "../../src/train/choose_arithmetic.ts";
import { compareForward } from "../../src/train/compare_forward.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { RIGHT_FORMS } from "../helpers/integer_forms.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { saturatingRunner } from "../helpers/saturating_runner.ts";
import { adapted, batchOf, rowsOf, stepOn } from "../helpers/training_step.ts";

const UNSIGNED = { "session.x64quantprecision": "1" };
const UNSIGNED_OR_FLOATS = { ...UNSIGNED, "session.disable_quant_qdq": "1" };

const MODELS = {
  "tiny-bert-dynamic-int8": UNSIGNED,
  "dialects/bert-qattention": UNSIGNED,
  "dialects/bert-integer-to-float": undefined, // unsigned weights
  "dialects/bert-qdq": UNSIGNED,
  "dialects/bert-qdq-floats": UNSIGNED,
  "dialects/llama-int8-separate": undefined, // products of floats
  "tiny-llama-genai-int4": undefined,
  "tiny-llama-torch-fp32": undefined,
};

for (const [name, expected] of Object.entries(MODELS)) {
  Deno.test(`signedProductOptions() has what ${name} needs, as a graph and as a file`, () => {
    assertEquals(signedProductOptions(readModel(modelDir(name)).graph), expected);
    assertEquals(signedProductOptionsOf(`${modelDir(name)}/model.onnx`), expected);
  });
}

/** The graph with weights whose zero points are left out, as ONNX allows where they are 0. */
function withoutZeroPoints(graph: Graph): Graph {
  const holdsCodes = ([weight]: readonly string[]) =>
    graph.initializers.get(weight)?.dtype === "int8";
  return {
    ...graph,
    nodes: graph.nodes.map((node) =>
      node.opType === "DequantizeLinear" && holdsCodes(node.inputs)
        ? { ...node, inputs: node.inputs.slice(0, 2) }
        : node
    ),
  };
}

/** The graph as the body of a node: an If whose branches are both it. */
function within(graph: Graph): Graph {
  const branch = { kind: "graph", value: graph } as const;
  return {
    ...graph,
    initializers: new Map([["yes", tensor("bool", [], new Uint8Array([1]))]]),
    nodes: [{
      ...{ name: "if", opType: "If", domain: "", inputs: ["yes"], outputs: ["y"] },
      attributes: { then_branch: branch, else_branch: branch },
    }],
  };
}

/** The graph with weights that a node brings to what reads them. */
function throughIdentity(graph: Graph): Graph {
  const isMatrix = (name: string) => graph.initializers.get(name)?.dims.length === 2;
  const moved = (name: string) => isMatrix(name) ? `${name}.same` : name;
  const moves = [...graph.initializers.keys()].filter(isMatrix).map((name): Node => ({
    ...{ name, opType: "Identity", domain: "", attributes: {} },
    ...{ inputs: [name], outputs: [moved(name)] },
  }));
  const readers = graph.nodes.map((node) => ({ ...node, inputs: node.inputs.map(moved) }));
  return { ...graph, nodes: [...moves, ...readers] };
}

Deno.test("signedProductOptions() follows weights to what reads them", () => {
  for (const name of ["tiny-bert-dynamic-int8", "dialects/bert-qdq", "dialects/bert-qdq-floats"]) {
    const { graph } = readModel(modelDir(name));
    assertEquals(signedProductOptions(throughIdentity(graph)), UNSIGNED, name);
  }
});

Deno.test("signedProductOptions() knows what the option breaks, and looks into branches", () => {
  const { graph } = readModel(modelDir("dialects/bert-qdq"));
  assertEquals(signedProductOptions(withoutZeroPoints(graph)), UNSIGNED_OR_FLOATS);
  assertEquals(signedProductOptions(within(graph)), UNSIGNED);
});

// Without optimisation ONNX Runtime computes these in floats, on every processor.
for (const name of ["bert-qdq", "bert-qdq-floats", "bert-qoperator"]) {
  for (const zeroPoints of [true, false]) {
    const how = zeroPoints ? "" : " without zero points";
    Deno.test(`compile() of ${name}${how} computes the same optimised, on every processor`, async () => {
      using runner = createOrtRunner({ threads: 1 });
      const model = readModel(modelDir(`dialects/${name}`));
      const graph = zeroPoints ? model.graph : withoutZeroPoints(model.graph);
      const [output] = graph.outputs;
      const run = (optimization: "all" | "disabled") =>
        runOutput(runner, { ...model, graph }, tokenFeeds(2, 12, 100), output.name, {
          optimization,
        });
      const { relative } = difference(await run("all"), await run("disabled"));
      // Saturating, it would be over 0.08.
      assert(relative <= 1e-5, `relative difference ${relative}`);
    });
  }
}

Deno.test("load() of models with int8 weights computes what compile() does, on every processor", async () => {
  using runner = createOrtRunner({ threads: 1 });
  for (const name of ["bert-qdq", "bert-qdq-floats", "bert-qattention"]) {
    const path = modelDir(`dialects/${name}`);
    const model = readModel(path);
    const fromFile = {
      compile: () => runner.load(`${path}/model.onnx`),
      upload: (value: Tensor) => runner.upload(value),
    };
    const [{ name: output }] = model.graph.outputs;
    const run = (on: typeof fromFile | typeof runner) =>
      runOutput(on, model, tokenFeeds(2, 12, 100), output);
    const { relative } = difference(await run(fromFile), await run(runner));
    assert(relative <= 1e-5, `relative difference of ${name} is ${relative}`);
  }
});

Deno.test("signedProductOptionsOf() leaves what is no model to the runtime", () => {
  const config = `${modelDir("tiny-bert-dynamic-int8")}/config.json`;
  assertEquals(signedProductOptionsOf(config), undefined);
  assertEquals(signedProductOptionsOf(modelDir("no-such-model")), undefined);
});

/** A folder with bert-qdq, its weights in a file beside it. */
async function besideFolder(): Promise<string> {
  const folder = await Deno.makeTempDir();
  const { model, data } = encodeModelWithExternalData(
    readModel(modelDir("dialects/bert-qdq")),
    "model.onnx.data",
    { threshold: 4 },
  );
  await Deno.writeFile(`${folder}/model.onnx`, model);
  await Deno.writeFile(`${folder}/model.onnx.data`, ReadableStream.from(data));
  return folder;
}

Deno.test("signedProductOptionsOf() reads data files, and takes no memory for what is not in them", async () => {
  const folder = await besideFolder();
  const path = `${folder}/model.onnx`;
  try {
    assertEquals(
      signedProductOptionsOf(path),
      signedProductOptionsOf(`${modelDir("dialects/bert-qdq")}/model.onnx`),
    );
    const file = readMessage(await Deno.readFile(path));
    // 16 TiB, which no JavaScript array can have.
    const claimed = file.graph!.initializer.find(({ externalData }) => externalData.length > 0)!;
    claimed.dims = [2n ** 42n];
    claimed.externalData.find(({ key }) => key === "length")!.value = String(2 ** 44);
    claimed.dataType = 1;
    await Deno.writeFile(path, writeMessage(file));
    assertEquals(signedProductOptionsOf(path), undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("chooseArithmetic() in integers takes a form that adds up right where none is given", async () => {
  using honest = createOrtRunner({ threads: 1 });
  using saturating = saturatingRunner();
  for (const [runner, right] of [[honest, RIGHT_FORMS[0]], [saturating, "u8u8"]] as const) {
    for (const how of [{ numeric: "fast" }, { sliced: true }] as const) {
      assertEquals(formOfProducts(await chooseArithmetic(runner, how)), right);
    }
    const given = await chooseArithmetic(runner, { numeric: "fast", integerForm: "s8s8" });
    assertEquals(formOfProducts(given), "s8s8");
    assertEquals(
      formOfProducts(await chooseArithmetic(runner, { integerForm: "s8s8" })),
      undefined,
    );
  }
});

Deno.test("saturates() compiles one session, which asks nothing in turn", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const compile = runner.compile.bind(runner);
  let compiled = 0;
  runner.compile = (...given) => {
    compiled++;
    return compile(...given);
  };
  await saturates(runner, "uint8", "int8");
  assertEquals(compiled, 1);
});

Deno.test("saturates() counts no traffic, and no two types of one sign saturate", async () => {
  using runner = createOrtRunner({ threads: 1 });
  assertEquals(await saturates(runner, "uint8", "uint8"), false);
  assertEquals(await saturates(runner, "int8", "int8"), false);
  assertEquals(runner.traffic, { uploadedBytes: 0, readBytes: 0 });
});

Deno.test("a model that rounds its activations computes near its floats on every processor", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const name = "tiny-bert-dynamic-int8";
  using step = stepOn(runner, name);
  const { model } = adapted(readModel(modelDir(name)));
  const batch = batchOf(rowsOf([9, 6]), 9, "classification");
  const { relativeDifference } = await compareForward(runner, model, step, batch);
  // Saturating, it would be over 0.12.
  assert(relativeDifference < 0.05, `relative difference ${relativeDifference}`);
});
