import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { adapterOf } from "../../src/finetune/adapted_model.ts";
import { continueAdapter } from "../../src/finetune/continue_adapter.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { findModules } from "../../src/lora/modules.ts";
import { reachOf } from "../../src/lora/reach.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { floats } from "../helpers/lora_graphs.ts";
import { tinyModel } from "../helpers/ort.ts";

/** An encoder with token states and, as BERT has it, a pooler that only an output of its own reads. */
const encoder = () =>
  tinyModel({
    inputs: { x: ["float32", ["batch", "sequence", 4]] },
    outputs: {
      last_hidden_state: ["float32", ["batch", "sequence", 4]],
      pooler_output: ["float32", ["batch", 4]],
    },
    nodes: [
      ["MatMul", ["x", "dense.weight"], ["h"]],
      ["Tanh", ["h"], ["last_hidden_state"]],
      ["ReduceMax", ["last_hidden_state"], ["first"]],
      ["MatMul", ["first", "pooler.weight"], ["p"]],
      ["Tanh", ["p"], ["pooler_output"]],
    ],
    initializers: { "dense.weight": floats(4, 4), "pooler.weight": floats(4, 4) },
  });

const choose = (...targetModules: string[]) => {
  const model = encoder();
  return resolveTargets(findModules(model), { ...DEFAULT_LORA, targetModules }, reachOf(model));
};

Deno.test("resolveTargets() leaves out layers that the loss does not depend on", () => {
  assertEquals(findModules(encoder()).map(({ path }) => path), ["dense", "pooler"]);
  assertEquals(choose("all-linear").map(({ module }) => module.path), ["dense"]);
});

Deno.test("resolveTargets() refuses a target that the loss does not depend on, naming it", () => {
  assertThrows(() => choose("dense", "pooler"), UsageError, "the loss does not depend on pooler");
});

Deno.test("continueAdapter() keeps what the loss does not depend on as it was", () => {
  const weights = (value: number) => ({ a: floats(value, 4), b: floats(4, value) });
  const lora = new Map([["dense", weights(2)], ["pooler", weights(2)]]);
  const config = {
    ...{
      adapterType: "lora" as const,
      rank: 2,
      alpha: 4,
      dropout: 0,
      rankPattern: {},
      alphaPattern: {},
      useRslora: false,
      useDora: false,
    },
    ...{ targetModules: ["dense", "pooler"], modulesToSave: [], gaussian: false },
  };
  const adapter = { lora, saved: new Map(), config };
  const adapted = continueAdapter(
    encoder(),
    adapter,
    { loraDropout: 0, freezeA: false },
    undefined,
    "adapter",
  );
  const names = [...adapted.trainable.keys()];
  assertEquals(names.length, 4);
  assertEquals([...adapted.trained], names.filter((name) => name.startsWith("dense")));
  const trained = new Map([...adapted.trained].map((name) => [
    name,
    { ...adapted.model.graph.initializers.get(name)!, bytes: new Uint8Array(32).fill(1) },
  ]));
  const card = { baseDigest: "sha256:0", task: "causal", config: {} } as const;
  const saved = adapterOf(adapted, trained, card).lora;
  assertEquals(saved.get("pooler"), weights(2));
  assertEquals(saved.get("dense")!.a.bytes, new Uint8Array(32).fill(1));
});
