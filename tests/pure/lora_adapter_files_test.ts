import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { float32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { AdapterCard } from "../../src/lora/adapter_card.ts";
import { type Adapter, decodeAdapter } from "../../src/lora/adapter_files.ts";
import { adapterSites, applyAdapter, checkBase } from "../../src/lora/apply.ts";
import { modelDigest } from "../../src/lora/digest.ts";
import { findModules } from "../../src/lora/modules.ts";
import { parsePeftConfig } from "../../src/lora/peft_config.ts";
import { encodeSafetensors } from "../../src/safetensors/mod.ts";
import { adapterBytes } from "../helpers/adapter_bytes.ts";
import { floats, graphOf } from "../helpers/lora_graphs.ts";

const base = () => graphOf([["MatMul", ["x", "fc.weight"], ["y"]]], { "fc.weight": floats(4, 6) });

function adapter(): Adapter & { card: AdapterCard } {
  return {
    lora: new Map([["fc", { a: floats(2, 4), b: floats(6, 2) }]]),
    saved: new Map([["score", { weight: floats(3, 6), bias: floats(3) }]]),
    head: { weight: floats(5, 6), bias: floats(5) },
    config: {
      adapterType: "lora",
      rank: 2,
      alpha: 4,
      dropout: 0.1,
      rankPattern: {},
      alphaPattern: { fc: 8 },
      useRslora: true,
      useDora: false,
      targetModules: ["fc"],
      modulesToSave: ["score"],
      taskType: "SEQ_CLS",
      base: "some/base",
      gaussian: false,
    },
    card: {
      baseDigest: modelDigest(base()),
      tokenizerDigest: undefined,
      task: "classification",
      labels: ["a", "b", "c", "d", "e"],
      pooling: "first",
      dataDigest: `sha256:${"0".repeat(64)}`,
      parents: [`sha256:${"1".repeat(64)}`],
      config: { learningRate: 1e-3 },
    },
  };
}

/** The adapter's files with some replaced. */
function filesWith(changed: Readonly<Record<string, Uint8Array | undefined>>) {
  const files = new Map(adapterBytes(adapter()));
  for (const [name, bytes] of Object.entries(changed)) {
    if (bytes === undefined) files.delete(name);
    else files.set(name, bytes);
  }
  return files;
}

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const tensors = (entries: Readonly<Record<string, Tensor>>) =>
  encodeSafetensors(new Map(Object.entries(entries)));
const key = (name: string) => `base_model.model.fc.${name}.weight`;

Deno.test("decodeAdapter() reads what encodeAdapter() wrote", () => {
  const read = decodeAdapter(adapterBytes(adapter()), "dir");
  const { lora, saved, head, config, card } = adapter();
  assertEquals([read.lora, read.saved, read.head], [lora, saved, head]);
  assertEquals([read.config, read.card], [config, card]);
});

Deno.test("decodeAdapter() reads an adapter of scales as one, and none of its tensors as LoRA's", () => {
  const made = adapter();
  const scales = { ...made, config: { ...made.config, adapterType: "scales" as const } };
  const files = adapterBytes(scales);
  const read = decodeAdapter(files, "dir");
  assertEquals([read.config.adapterType, read.lora], ["scales", scales.lora]);
  const config = adapterBytes(made).get("adapter_config.json")!;
  assertThrows(
    () => decodeAdapter(new Map([...files, ["adapter_config.json", config]]), "dir"),
    BadInputError,
    'scales_A.weight" is of no kind graft knows',
  );
});

Deno.test("decodeAdapter() reads an adapter without graft.json, as PEFT makes it", () => {
  const read = decodeAdapter(
    filesWith({ "graft.json": undefined, "head.safetensors": undefined }),
    "dir",
  );
  assertEquals([read.card, read.head, read.lora.size], [undefined, undefined, 1]);
});

Deno.test("decodeAdapter() reads float16 tensors and the names PEFT uses in memory", () => {
  const half = tensor("float16", [2, 4], new Uint8Array(16));
  const bytes = tensors({
    "base_model.model.fc.lora_A.default.weight": half,
    "base_model.model.fc.lora_B.default.weight": floats(6, 2),
    "base_model.model.score.modules_to_save.weight": floats(3, 6),
  });
  const read = decodeAdapter(filesWith({ "adapter_model.safetensors": bytes }), "dir");
  assertEquals(read.lora.get("fc")?.a.dtype, "float32");
  assertEquals([...read.saved.keys()], ["score"]);
});

const PAIR = { [key("lora_A")]: floats(2, 4), [key("lora_B")]: floats(6, 2) };

const BAD_TENSORS: readonly (readonly [string, Readonly<Record<string, Tensor>>, string])[] = [
  ["A without B", { [key("lora_A")]: floats(2, 4) }, 'module "fc" has lora_A without lora_B'],
  ["B without A", { [key("lora_B")]: floats(6, 2) }, 'module "fc" has lora_B without lora_A'],
  [
    "ranks that differ",
    { [key("lora_A")]: floats(2, 4), [key("lora_B")]: floats(6, 3) },
    "current shapes are [2,4] and [6,3]",
  ],
  [
    "another rank than the configuration's",
    { [key("lora_A")]: floats(3, 4), [key("lora_B")]: floats(6, 3) },
    'module "fc" has rank 3, adapter_config.json says 2',
  ],
  ["integers", { [key("lora_A")]: tensor("int8", [2, 2], new Uint8Array(4)) }, "floating type"],
  [
    "a magnitude alone",
    { "base_model.model.fc.lora_magnitude_vector": floats(6) },
    "lora_magnitude_vector without lora_A and lora_B",
  ],
  [
    "a magnitude of another size",
    { ...PAIR, "base_model.model.fc.lora_magnitude_vector": floats(4) },
    "lora_magnitude_vector must be [6]: current shape is [4]",
  ],
  [
    "a magnitude without use_dora",
    { ...PAIR, "base_model.model.fc.lora_magnitude_vector": floats(6) },
    'module "fc" has a lora_magnitude_vector, adapter_config.json says use_dora: false',
  ],
  ["an adapted embedding", { "base_model.model.emb.lora_embedding_A": floats(2, 4) }, "embedding"],
  ["trained biases", { "base_model.model.fc.lora_B.bias": floats(6) }, "no kind graft knows"],
  [
    "other prefixes",
    { "fc.lora_A.weight": floats(2, 4) },
    'does not begin with "base_model.model."',
  ],
  ["values that are no numbers", { [key("lora_A")]: float32([1, 1], [NaN]) }, "NaN or infinite"],
  ["nothing", {}, "no tensors"],
];

for (const [what, entries, message] of BAD_TENSORS) {
  Deno.test(`decodeAdapter() refuses ${what}`, () => {
    const files = filesWith({ "adapter_model.safetensors": tensors(entries) });
    const error = assertThrows(() => decodeAdapter(files, "dir"), BadInputError, message) as Error;
    assert(error.message.startsWith("dir/adapter_model.safetensors: "), error.message);
  });
}

const BAD_CONFIGS: readonly (readonly [Readonly<Record<string, unknown>>, string])[] = [
  [{ peft_type: "IA3" }, 'adapter kind "IA3" is not supported'],
  [
    { use_dora: true, peft_type: "GRAFT_SCALES" },
    'DoRA (use_dora) beside adapter kind "GRAFT_SCALES" is not supported',
  ],
  [{ bias: "some" }, 'bias: "some" is not supported'],
  [{ init_lora_weights: "pissa" }, 'init_lora_weights "pissa"'],
  [{ use_qalora: true }, 'option "use_qalora" is not supported'],
  [{ trainable_token_indices: [1, 2] }, 'option "trainable_token_indices" is not supported'],
  [{ layer_replication: [[0, 4]] }, 'option "layer_replication" is not supported'],
  [{ r: 0 }, '"r" must be a whole number >= 1: current value is 0'],
  [{ lora_alpha: "16" }, '"lora_alpha" must be a number: current value is "16"'],
  [{ lora_dropout: 2 }, '"lora_dropout" must be in [0, 1)'],
  [{ alpha_pattern: { q: "x" } }, '"alpha_pattern" must be an object of numbers'],
  [{ target_modules: 7 }, '"target_modules" must be a list of strings'],
];

for (const [change, message] of BAD_CONFIGS) {
  Deno.test(`parsePeftConfig() refuses ${JSON.stringify(change)}`, () => {
    const text = JSON.stringify({ peft_type: "LORA", r: 8, target_modules: ["q_proj"], ...change });
    assertThrows(() => parsePeftConfig(text), BadInputError, message);
  });
}

Deno.test("parsePeftConfig() refuses a key given twice and text that is no JSON object", () => {
  assertThrows(
    () => parsePeftConfig('{"r": 8, "peft_type": "LORA", "r": 4}'),
    BadInputError,
    'key "r" twice',
  );
  assertThrows(() => parsePeftConfig("[1]"), BadInputError, "must be a JSON object");
  assertThrows(() => parsePeftConfig("{"), BadInputError, "not JSON");
});

Deno.test("decodeAdapter() refuses a graft.json of a newer format", () => {
  const files = filesWith({ "graft.json": json({ format_version: 2 }) });
  assertThrows(() => decodeAdapter(files, "dir"), BadInputError, '"format_version" must be 1');
});

Deno.test("decodeAdapter() names a file that is missing", () => {
  const files = filesWith({ "adapter_config.json": undefined });
  assertThrows(
    () => decodeAdapter(files, "dir"),
    BadInputError,
    "dir/adapter_config.json: the file is missing",
  );
});

Deno.test("checkBase() refuses an adapter of another base and lets one without graft.json pass", () => {
  checkBase(adapter(), base(), "dir");
  const other = graphOf([["MatMul", ["x", "fc.weight"], ["y"]]], { "fc.weight": floats(4, 7) });
  assertThrows(() => checkBase(adapter(), other, "dir"), BadInputError, "belongs to another base");
  checkBase({ ...adapter(), card: undefined }, other, "dir");
});

Deno.test("applyAdapter() refuses a module the base does not have, naming ones like it", () => {
  const model = graphOf([["MatMul", ["x", "encoder.fc.weight"], ["y"]]], {
    "encoder.fc.weight": floats(4, 6),
  });
  const { lora, config } = adapter();
  const error = assertThrows(
    () => applyAdapter(model, { lora, config, saved: new Map() }),
    BadInputError,
    'targets module "fc", which the base does not have',
  ) as Error;
  assert(error.message.includes("it has encoder.fc"), error.message);
});

Deno.test("adapterSites() takes scale from alpha pattern, rank and the kind of scaling", () => {
  const [site] = adapterSites(findModules(base()), adapter());
  assertEquals([site.rank, site.alpha, site.scale], [2, 8, 8 / Math.sqrt(2)]);
});

Deno.test("modelDigest() changes with a weight, an attribute or a connection, not with names of nodes", () => {
  const digest = modelDigest(base());
  const renamed = base();
  const nodes = renamed.graph.nodes.map((node) => ({ ...node, name: "other" }));
  assertEquals(
    modelDigest({ ...renamed, graph: { ...renamed.graph, nodes }, metadata: { a: "b" } }),
    digest,
  );
  const bytes = floats(4, 6).bytes.slice();
  bytes[0] ^= 1;
  const changed = graphOf([["MatMul", ["x", "fc.weight"], ["y"]]], {
    "fc.weight": tensor("float32", [4, 6], bytes),
  });
  assert(modelDigest(changed) !== digest);
  const transposed = graphOf([["MatMul", ["fc.weight", "x"], ["y"]]], {
    "fc.weight": floats(4, 6),
  });
  assert(modelDigest(transposed) !== digest);
});

Deno.test("decodeAdapter() refuses labels that are not as many as the head's classes", () => {
  const { card } = adapter();
  const files = adapterBytes({ ...adapter(), card: { ...card, labels: ["a"] } });
  assertThrows(
    () => decodeAdapter(files, "dir"),
    BadInputError,
    "the head has 5 classes, graft.json names 1",
  );
});

Deno.test("decodeAdapter() answers any damaged file with an error about the file", () => {
  let state = 1;
  const next = (limit: number) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % limit;
  let refused = 0;
  for (const [name, bytes] of adapterBytes(adapter())) {
    for (let i = 0; i < 200; i++) {
      const damaged = bytes.slice(0, i % 4 === 0 ? next(bytes.length) : bytes.length);
      for (let k = next(3); k >= 0 && damaged.length > 0; k--) {
        damaged[next(damaged.length)] = next(256);
      }
      try {
        decodeAdapter(filesWith({ [name]: damaged }), "dir");
      } catch (error) {
        assert(error instanceof BadInputError, `${name}: ${(error as Error).stack}`);
        refused++;
      }
    }
  }
  assert(refused > 400, `${refused} refused`);
});
