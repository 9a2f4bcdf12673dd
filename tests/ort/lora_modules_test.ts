import { assert, assertEquals } from "@std/assert";
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
