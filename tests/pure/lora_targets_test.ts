import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { DEFAULT_LORA, type LoraConfig, parseLayers } from "../../src/lora/config.ts";
import type { LinearModule } from "../../src/lora/modules.ts";
import { layerOf } from "../../src/lora/names.ts";
import { resolveTargets, targetNames } from "../../src/lora/targets.ts";
import { floats, graphOf } from "../helpers/lora_graphs.ts";

const NODE = graphOf([["MatMul", ["x", "w"], ["y"]]], { w: floats(4, 4) }).graph.nodes[0];

/** Modules that have a path and nothing special beside it. */
function modulesOf(paths: readonly string[]): readonly LinearModule[] {
  return paths.map((path) => ({
    path,
    kind: "MatMul",
    node: NODE,
    input: "x",
    output: path,
    inFeatures: 4,
    outFeatures: 4,
    dtype: "float32",
    weight: "w",
    layout: "KN",
    bits: 32,
    head: path === "lm_head" || path === "classifier",
    layer: layerOf(path),
  }));
}

const LLAMA = modulesOf([
  ...[0, 1, 2].flatMap((i) =>
    [
      "self_attn.q_proj",
      "self_attn.k_proj",
      "self_attn.v_proj",
      "self_attn.o_proj",
      "mlp.gate_proj",
      "mlp.up_proj",
      "mlp.down_proj",
    ]
      .map((name) => `model.layers.${i}.${name}`)
  ),
  "lm_head",
]);
const BERT = modulesOf([
  ...[
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
  ]
    .map((name) => `bert.encoder.layer.0.${name}`),
  "bert.pooler.dense",
  "classifier",
]);

const resolve = (modules: readonly LinearModule[], config: Partial<LoraConfig>) =>
  resolveTargets(modules, { ...DEFAULT_LORA, ...config });
const paths = (
  modules: readonly LinearModule[],
  targetModules: readonly string[],
  more: Partial<LoraConfig> = {},
) => resolve(modules, { targetModules, ...more }).map(({ module }) => module.path);

Deno.test("resolveTargets() takes module names, whole paths and shorthands", () => {
  assertEquals(paths(LLAMA, ["q_proj"]).length, 3);
  assertEquals(paths(LLAMA, ["model.layers.1.mlp.up_proj"]), ["model.layers.1.mlp.up_proj"]);
  assertEquals(paths(LLAMA, ["q", "v"]), paths(LLAMA, ["q_proj", "v_proj"]));
  assertEquals(paths(BERT, ["q", "v"]), paths(BERT, ["query", "value"]));
  assertEquals(paths(LLAMA, ["attention"]).length, 12);
  assertEquals(paths(LLAMA, ["mlp"]).length, 9);
  assertEquals(paths(BERT, ["attention"]).map((path) => path.slice(21)), [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
  ]);
  assertEquals(paths(BERT, ["mlp"]).map((path) => path.slice(21)), [
    "intermediate.dense",
    "output.dense",
  ]);
});

Deno.test("resolveTargets() leaves the head out of all-linear, as PEFT does, and keeps the pooler", () => {
  assertEquals(paths(LLAMA, ["all-linear"]).length, 21);
  assertEquals(paths(BERT, ["all-linear"]).at(-1), "bert.pooler.dense");
  assertEquals(paths(LLAMA, ["lm_head"]), ["lm_head"]);
});

Deno.test("resolveTargets() takes globs and regular expressions over whole paths", () => {
  assertEquals(paths(LLAMA, ["model.layers.1.*"]).length, 7);
  assertEquals(paths(LLAMA, ["*.q_proj"]).length, 3);
  assertEquals(paths(LLAMA, ["model.layers.?.mlp.up_proj"]).length, 3);
  assertEquals(paths(LLAMA, [String.raw`model\.layers\.[02]\..*\.(q|v)_proj`]).length, 4);
  assertThrows(() => paths(LLAMA, ["(unclosed"]), UsageError, "valid patterns");
});

Deno.test("resolveTargets() keeps to the chosen layers and to the last ones", () => {
  assertEquals(paths(LLAMA, ["q_proj"], { layers: [0, 2] }), [
    "model.layers.0.self_attn.q_proj",
    "model.layers.2.self_attn.q_proj",
  ]);
  assertEquals(paths(LLAMA, ["q_proj"], { numLayers: 1 }), ["model.layers.2.self_attn.q_proj"]);
  assertEquals(paths(LLAMA, ["q_proj"], { numLayers: -1 }).length, 3);
  assertThrows(() => paths(LLAMA, ["q_proj"], { layers: [7] }), UsageError, "layers 0 to 2");
});

Deno.test("resolveTargets() leaves modules that are saved whole to themselves", () => {
  assert(
    !paths(BERT, ["all-linear", "classifier"], { modulesToSave: ["classifier"] }).includes(
      "classifier",
    ),
  );
});

Deno.test("resolveTargets() names what there is where a target matches nothing", () => {
  const error = assertThrows(() => paths(LLAMA, ["q_prok"]), UsageError) as Error;
  assert(
    error.message.startsWith(
      'Cannot inject LoRA at "q_prok": this model has no such module; did you mean q_proj',
    ),
    error.message,
  );
  assert(error.message.includes("gate_proj"), error.message);
});

Deno.test("resolveTargets() says so where a model has no linear layer at all", () => {
  const error = assertThrows(
    () => resolveTargets([], { ...DEFAULT_LORA, targetModules: ["all-linear"] }),
    UsageError,
  ) as Error;
  assert(error.message.includes("this model has no linear layer that graft can adapt"));
});

Deno.test("resolveTargets() gives each site its rank, alpha and scale, patterns first", () => {
  const sites = resolve(LLAMA, {
    targetModules: ["q_proj"],
    rank: 8,
    alpha: 16,
    rankPattern: { "layers.1.self_attn.q_proj": 4 },
    alphaPattern: { [String.raw`layers\.[12]\..*`]: 32 },
  });
  assertEquals(sites.map(({ rank, alpha, scale }) => [rank, alpha, scale]), [
    [8, 16, 2],
    [4, 32, 8],
    [8, 32, 4],
  ]);
  const [rslora] = resolve(LLAMA, {
    targetModules: ["q_proj"],
    rank: 4,
    alpha: 8,
    useRslora: true,
  });
  assertEquals(rslora.scale, 4);
});

const REFUSED: readonly (readonly [Partial<LoraConfig>, string])[] = [
  [{ rank: 0 }, 'Cannot inject LoRA at "q_proj": rank must be >= 1: current value is 0'],
  [{ rank: 1.5 }, "rank must be a whole number: current value is 1.5"],
  [{ alpha: 0 }, "alpha must be > 0: current value is 0"],
  [{ alpha: NaN }, "alpha must be > 0: current value is NaN"],
  [{ dropout: 1 }, "dropout must be in [0, 1): current value is 1"],
  [{ rankPattern: { k_proj: -1 } }, 'at "k_proj": rank must be >= 1: current value is -1'],
  [{ rank: 1e9 }, "rank must be <= 65536: current value is 1000000000"],
  [
    { rankPattern: { k_proj: 4 } },
    'Cannot give "k_proj" a rank or alpha of its own: no adapted module has this name; adapted are q_proj',
  ],
  [{ alphaPattern: { nothere: 4 } }, 'Cannot give "nothere" a rank or alpha of its own'],
  [{ numLayers: 0 }, "numLayers must be >= 1, or -1 for all: current value is 0"],
  [{ targetModules: [] }, "no target modules were given"],
];

for (const [config, message] of REFUSED) {
  Deno.test(`resolveTargets() refuses ${JSON.stringify(config)}`, () => {
    assertThrows(
      () => resolve(LLAMA, { targetModules: ["q_proj"], ...config }),
      UsageError,
      message,
    );
  });
}

Deno.test("targetNames() are last components where those choose the same modules, else paths", () => {
  assertEquals(targetNames(paths(LLAMA, ["q", "v"]), LLAMA), ["q_proj", "v_proj"]);
  const one = paths(LLAMA, ["q_proj"], { layers: [1] });
  assertEquals(targetNames(one, LLAMA), one);
  const dense = paths(BERT, ["attention.output.dense"]);
  assertEquals(targetNames(dense, BERT), dense);
});

Deno.test("parseLayers() reads numbers and ranges and nothing else", () => {
  assertEquals(parseLayers("0-2, 7,1"), [0, 1, 2, 7]);
  for (const text of ["", "a", "3-1", "-1", "1.5", "0-999999999"]) {
    assertThrows(() => parseLayers(text), UsageError, "ranges like 0-3,8");
  }
});
