import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { int64, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA, type LoraConfig } from "../../src/lora/config.ts";
import { initAdapter, initLinear } from "../../src/lora/init.ts";
import { inject } from "../../src/lora/inject.ts";
import type { InjectOptions } from "../../src/lora/lora_weights.ts";
import { findModules } from "../../src/lora/modules.ts";
import { makeTrainable, resolveModulesToSave } from "../../src/lora/modules_to_save.ts";
import { splitShared } from "../../src/lora/split_shared.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { UsageError } from "../../src/errors.ts";
import { floats, graphOf, withNodes } from "../helpers/lora_graphs.ts";

/** Numbers that are no numbers at all like random, and always the same. */
function counter() {
  let state = 1;
  return { next: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) };
}

const linear = () =>
  graphOf([["MatMul", ["x", "fc.weight"], ["h"]], ["Add", ["h", "fc.bias"], ["y"]]], {
    "fc.weight": floats(4, 6),
    "fc.bias": floats(6),
  });

function injected(model: Model, config: Partial<LoraConfig>, options: InjectOptions = {}) {
  const sites = resolveTargets(findModules(model), { ...DEFAULT_LORA, ...config });
  return inject(model, sites, initAdapter(sites, "kaiming", counter()), options);
}

Deno.test("inject() names A and B as PEFT does and keeps every name of the user's graph", () => {
  const { model, trainable } = injected(linear(), { targetModules: ["fc"], rank: 2 });
  assertEquals([...trainable], [
    ["fc.lora_A.weight", { path: "fc", which: "A", dims: [2, 4] }],
    ["fc.lora_B.weight", { path: "fc", which: "B", dims: [6, 2] }],
  ]);
  assertEquals(model.graph.outputs.map(({ name }) => name), ["y"]);
  assertEquals(model.graph.nodes[0], linear().graph.nodes[0]);
  assertEquals(model.graph.nodes.at(-1)?.outputs, ["y"]);
  assert(model.graph.nodes.every(({ domain }) => domain === ""));
});

Deno.test("inject() leaves the model it is given as it was", () => {
  const model = linear();
  const before = structuredClone(model);
  injected(model, { targetModules: ["fc"] });
  assertEquals(model, before);
});

Deno.test("inject() can make A and B inputs, so that they change between runs", () => {
  const { model } = injected(linear(), { targetModules: ["fc"], rank: 2 }, { asInputs: true });
  assertEquals(model.graph.inputs.slice(1).map(({ name, type }) => [name, type?.shape]), [
    ["fc.lora_A.weight", [2, 4]],
    ["fc.lora_B.weight", [6, 2]],
  ]);
  assert(!model.graph.initializers.has("fc.lora_A.weight"));
});

Deno.test("inject() adds dropout masks only where asked for and where there is dropout", () => {
  const config = { targetModules: ["fc"], dropout: 0.1 };
  assertEquals(injected(linear(), config).masks.size, 0);
  assertEquals(injected(linear(), { targetModules: ["fc"] }, { dropout: true }).masks.size, 0);
  const { masks, model } = injected(linear(), config, { dropout: true });
  assertEquals([...masks], [["fc.dropout_mask", { path: "fc", like: "x", rate: 0.1 }]]);
  assertEquals(model.graph.inputs.at(-1)?.name, "fc.dropout_mask");
});

Deno.test("inject() refuses matrices that do not fit the site, naming it", () => {
  const model = linear();
  const sites = resolveTargets(findModules(model), {
    ...DEFAULT_LORA,
    targetModules: ["fc"],
    rank: 2,
  });
  const of = (a: number[], b: number[]) => new Map([["fc", { a: floats(...a), b: floats(...b) }]]);
  assertThrows(
    () => inject(model, sites, of([2, 5], [6, 2])),
    BadInputError,
    'Cannot inject LoRA at "fc": lora_A must be float32[2,4]: current value is float32[2,5]',
  );
  assertThrows(
    () => inject(model, sites, of([2, 4], [6, 3])),
    BadInputError,
    "lora_B must be float32[6,2]",
  );
  assertThrows(() => inject(model, sites, new Map()), BadInputError, "no matrices");
});

function fusedQkv(): Model {
  const model = graphOf(
    [
      ["com.microsoft.MatMulNBits", ["x", "w", "s"], ["qkv"], {
        K: int(32),
        N: int(32),
        bits: int(4),
        block_size: int(32),
      }],
      ["com.microsoft.GroupQueryAttention", ["qkv", "", ""], ["y"], {
        num_heads: int(4),
        kv_num_heads: int(2),
      }],
    ],
    { w: tensor("uint8", [32, 1, 16], new Uint8Array(512)), s: floats(32, 1) },
  );
  return withNodes(
    model,
    (_, i) => i === 0 ? { name: "/model/layers.0/attn/qkv_proj/MatMul" } : {},
  );
}

Deno.test("inject() gives the parts of a fused qkv one addition, and zeros where there is no adapter", () => {
  const { model, trainable } = injected(fusedQkv(), { targetModules: ["q", "v"], rank: 2 });
  const added = model.graph.nodes.filter(({ opType }) => opType === "Add");
  assertEquals(added.map(({ outputs }) => outputs), [["qkv"]]);
  assertEquals([...trainable.values()].map(({ which, dims }) => [which, dims]), [
    ["A", [2, 32]],
    ["B", [16, 2]],
    ["A", [2, 32]],
    ["B", [8, 2]],
  ]);
  const zeros = [...model.graph.initializers].filter(([name]) => name.startsWith("lora_zeros"));
  // Beside q's B and v's B [.., 2] stand zeros [.., 2]; k's rows [8, 4] are zeros altogether.
  assertEquals(zeros.map(([, { dims }]) => dims), [[16, 2], [8, 4], [8, 2]]);
});

Deno.test("initAdapter() starts A within ±1/√in and B at zero, the same for the same numbers", () => {
  const sites = resolveTargets(findModules(linear()), {
    ...DEFAULT_LORA,
    targetModules: ["fc"],
    rank: 64,
  });
  const weights = initAdapter(sites, "kaiming", counter()).get("fc")!;
  const a = Array.from(toNumbers(weights.a));
  assert(a.every((value) => Math.abs(value) < 0.5) && Math.max(...a) > 0.45);
  assert(Array.from(toNumbers(weights.b)).every((value) => value === 0));
  assertEquals(initAdapter(sites, "kaiming", counter()).get("fc"), weights);
});

Deno.test("initAdapter() draws a Gaussian A with deviation 1/rank", () => {
  const sites = resolveTargets(findModules(linear()), {
    ...DEFAULT_LORA,
    targetModules: ["fc"],
    rank: 500,
  });
  const a = Array.from(toNumbers(initAdapter(sites, "gaussian", counter()).get("fc")!.a));
  const deviation = Math.sqrt(a.reduce((sum, value) => sum + value * value, 0) / a.length);
  assert(Math.abs(deviation * 500 - 1) < 0.05, `deviation is ${deviation}`);
});

Deno.test("initLinear() starts a head within ±1/√in", () => {
  const { weight, bias } = initLinear(10, 100, counter());
  assertEquals([weight.dims, bias.dims], [[10, 100], [10]]);
  assert(Array.from(toNumbers(weight)).every((value) => Math.abs(value) < 0.1));
});

Deno.test("makeTrainable() starts at the layer's own values under PEFT's names and drops the frozen ones", () => {
  const model = linear();
  const { model: edited, trainable } = makeTrainable(model, findModules(model)[0]);
  const [weight, bias] = [...trainable.keys()];
  const start = edited.graph.initializers.get(weight)!;
  assertEquals(start.dims, [6, 4]);
  const stored = toNumbers(model.graph.initializers.get("fc.weight")!);
  const values = toNumbers(start);
  for (let n = 0; n < 6; n++) {
    for (let k = 0; k < 4; k++) assertEquals(values[n * 4 + k], stored[k * 6 + n]);
  }
  assertEquals(edited.graph.initializers.get(bias)?.dims, [6]);
  assertEquals(edited.graph.initializers.size, 2);
});

Deno.test("resolveModulesToSave() names the heads where a module is missing", () => {
  const modules = findModules(linear());
  assertEquals(resolveModulesToSave(modules, ["fc"]).length, 1);
  assertThrows(() => resolveModulesToSave(modules, ["score"]), UsageError, "it has fc");
});

Deno.test("splitShared() copies what others read and leaves what is read alone", () => {
  const model = graphOf(
    [["MatMul", ["x", "w"], ["a"]], ["Gather", ["w", "i"], ["b"]], ["Add", ["a", "b"], ["y"]]],
    { w: floats(4, 4), i: int64([], [0]) },
  );
  const split = splitShared(model, "w", [model.graph.nodes[0]]);
  assertEquals(
    split.model.graph.nodes.map(({ inputs }) => inputs.find((name) => name.startsWith("w"))),
    [
      split.name,
      "w",
      undefined,
    ],
  );
  assertEquals(split.model.graph.initializers.get(split.name), model.graph.initializers.get("w"));
  const alone = splitShared(split.model, split.name, [split.model.graph.nodes[0]]);
  assertEquals([alone.name, alone.model], [split.name, split.model]);
});
