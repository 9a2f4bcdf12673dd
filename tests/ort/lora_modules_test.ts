import { assert, assertEquals } from "@std/assert";
import type { Tensor } from "../../src/graph/tensor.ts";
import { findModules } from "../../src/lora/modules.ts";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import { MINILM_DIR, modelDir, readModel } from "../helpers/fixture_models.ts";

/** Linear layers of a transformers checkpoint with their shapes [out, in]. */
function linearsOf(checkpoint: string): readonly string[] {
  const { tensors } = decodeSafetensors(
    Deno.readFileSync(`${modelDir(checkpoint)}/model.safetensors`),
  );
  return [...tensors]
    .filter(([name, { dims }]) =>
      name.endsWith(".weight") && dims.length === 2 && !name.includes("embed")
    )
    .map(([name, { dims }]) => `${name.replace(/\.weight$/, "")} [${dims}]`)
    .sort();
}

const CHECKPOINTS = {
  "tiny-llama-genai-fp32": "tiny-llama-hf",
  "tiny-llama-genai-int4": "tiny-llama-hf",
  "tiny-llama-torch-fp32": "tiny-llama-hf",
  "tiny-bert-torch-fp32": "tiny-bert-hf",
  "tiny-bert-dynamic-int8": "tiny-bert-hf",
};

for (const [name, checkpoint] of Object.entries(CHECKPOINTS)) {
  Deno.test(`findModules() gives ${name} the names and shapes of its checkpoint`, () => {
    const modules = findModules(readModel(modelDir(name)));
    const found = modules.map(({ path, outFeatures, inFeatures }) =>
      `${path} [${outFeatures},${inFeatures}]`
    );
    assertEquals(found.sort(), linearsOf(checkpoint));
  });
}

Deno.test("findModules() names the embedded MiniLM's layers as sentence-transformers' checkpoint does", () => {
  const modules = findModules(readModel(MINILM_DIR));
  const layer = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
  ];
  assertEquals(
    modules.map(({ path }) => path),
    [0, 1, 2, 3, 4, 5].flatMap((i) => layer.map((name) => `encoder.layer.${i}.${name}`)),
  );
  assert(modules.every(({ bits, kind }) => bits === 8 && kind === "MatMulInteger"));
});

/** A model without any name that says something: what is left is structure. */
function nameless(name: string) {
  const model = readModel(name === "minilm" ? MINILM_DIR : modelDir(name));
  const { graph } = model;
  const renamed = new Map([...graph.initializers.keys()].map((key, i) => [key, `i${i}`]));
  return {
    ...model,
    graph: {
      ...graph,
      initializers: new Map(
        [...graph.initializers].map(([key, value]) => [renamed.get(key)!, value]),
      ),
      nodes: graph.nodes.map((node, i) => ({
        ...node,
        name: `n${i}`,
        metadata: undefined,
        inputs: node.inputs.map((input) => renamed.get(input) ?? input),
      })),
    },
  };
}

for (const name of [...Object.keys(CHECKPOINTS), "minilm"]) {
  Deno.test(`findModules() finds attention and feed-forward of ${name} by structure alone`, () => {
    const named = findModules(readModel(name === "minilm" ? MINILM_DIR : modelDir(name)));
    const found = findModules(nameless(name));
    const within = (path: string) => path.replace(/^bert\./, "");
    assertEquals(
      found.filter(({ layer }) => layer !== undefined).map(({ path }) => path),
      named.filter(({ layer }) => layer !== undefined).map(({ path }) => within(path)),
    );
  });
}

for (const name of ["bert-attention", "bert-qattention"]) {
  Deno.test(`findModules() finds the layers in the fused attention of ${name} by structure alone`, () => {
    const found = findModules(nameless(`dialects/${name}`)).map(({ path }) => path);
    const layer = ["self.query", "self.key", "self.value", "output.dense"];
    for (const i of [0, 1]) {
      for (const end of layer) assert(found.includes(`encoder.layer.${i}.attention.${end}`), end);
    }
  });
}

Deno.test("findModules() gives a layer that structure takes for another one a name of its own", () => {
  // Queries and keys of positions look like those of tokens; here each has a weight of its own.
  const model = nameless("dialects/deberta");
  const own = new Map<string, Tensor>();
  const nodes = model.graph.nodes.map((node, i) => {
    const weight = model.graph.initializers.get(node.inputs[1]);
    if (node.opType !== "MatMul" || weight === undefined) return node;
    own.set(`w${i}`, { ...weight, bytes: weight.bytes.map((byte, at) => at === 0 ? i : byte) });
    return { ...node, inputs: [node.inputs[0], `w${i}`] };
  });
  const initializers = new Map([...model.graph.initializers, ...own]);
  const modules = findModules({ ...model, graph: { ...model.graph, nodes, initializers } });
  assertEquals(new Set(modules.map(({ path }) => path)).size, modules.length);
  assert(modules.some(({ path }) => path.endsWith("attention.self.value")));
});

/** What each dialect calls its layers, once per layer of the first block. */
const DIALECTS: Readonly<Record<string, readonly string[]>> = {
  "qwen3": ["q_proj", "k_proj", "v_proj", "o_proj"].map((name) =>
    `model.layers.0.self_attn.${name}`
  ),
  "phi": ["q_proj", "k_proj", "v_proj", "dense"].map((name) => `model.layers.0.self_attn.${name}`),
  "gpt2": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"].map((name) =>
    `transformer.h.0.${name}`
  ),
  "bert-qdq": ["query", "key", "value"].map((name) =>
    `bert.encoder.layer.0.attention.self.${name}`
  ),
  "bert-qdq-floats": ["query", "key", "value"].map((name) =>
    `bert.encoder.layer.0.attention.self.${name}`
  ),
  "bert-qoperator": ["query", "key", "value"].map((name) =>
    `bert.encoder.layer.0.attention.self.${name}`
  ),
  "bert-integer-to-float": ["key", "query", "value"].map((name) =>
    `bert.encoder.layer.0.attention.self.${name}`
  ),
  "bert-attention": ["self.query", "self.key", "self.value", "output.dense"].map((name) =>
    `bert.encoder.layer.0.attention.${name}`
  ),
  "bert-qattention": ["self.query", "self.key", "self.value", "output.dense"].map((name) =>
    `bert.encoder.layer.0.attention.${name}`
  ),
  "llama-int8-separate": ["q_proj", "k_proj", "v_proj", "o_proj"].map((name) =>
    `model.layers.0.self_attn.${name}`
  ),
};

for (const [name, paths] of Object.entries(DIALECTS)) {
  Deno.test(`findModules() names the layers of ${name} as transformers does`, () => {
    const modules = findModules(readModel(modelDir(`dialects/${name}`)));
    assertEquals(modules.map(({ path }) => path).slice(0, paths.length), paths);
  });
}
