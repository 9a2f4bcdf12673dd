import { assert, assertEquals, assertThrows } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { float32, int64, tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { BadInputError } from "../../src/errors.ts";
import { findModules } from "../../src/lora/modules.ts";
import { dynamicLinear, floats, graphOf, int8s, withNodes } from "../helpers/lora_graphs.ts";
import type { TinyNode } from "../helpers/ort.ts";

const transpose = { perm: ints([1, 0]) };

Deno.test("findModules() sees a MatMul by a constant and the bias after it", () => {
  const model = graphOf(
    [["MatMul", ["x", "enc.fc.weight"], ["h"]], ["Add", ["enc.fc.bias", "h"], ["y"]]],
    { "enc.fc.weight": floats(4, 6), "enc.fc.bias": floats(6) },
  );
  const [module] = findModules(model);
  assertEquals(
    [module.path, module.kind, module.layout, module.inFeatures, module.outFeatures, module.bits],
    ["enc.fc", "MatMul", "KN", 4, 6, 32],
  );
  assertEquals([module.input, module.output, module.bias?.output], ["x", "h", "y"]);
});

Deno.test("findModules() looks through a transposed weight", () => {
  const model = graphOf(
    [["Transpose", ["fc.weight"], ["t"], transpose], ["MatMul", ["x", "t"], ["y"]]],
    { "fc.weight": floats(6, 4) },
  );
  const [module] = findModules(model);
  assertEquals([module.layout, module.inFeatures, module.outFeatures], ["NK", 4, 6]);
});

Deno.test("findModules() leaves out products of two activations and of other shapes", () => {
  const model = graphOf(
    [["MatMul", ["x", "x2"], ["a"]], ["MatMul", ["w3", "x"], ["b"]], ["MatMul", ["x", "w3"], [
      "y",
    ]]],
    { w3: floats(1, 4, 4) },
  );
  assertEquals(findModules(model), []);
});

Deno.test("findModules() sees a Gemm with its own bias, and no Gemm that scales", () => {
  const gemm = (
    attributes: TinyNode[3],
  ): TinyNode => ["Gemm", ["x", "fc.weight", "fc.bias"], ["y"], attributes];
  const weights = { "fc.weight": floats(6, 4), "fc.bias": floats(6) };
  const [module] = findModules(graphOf([gemm({ transB: int(1) })], weights));
  assertEquals([module.kind, module.layout, module.bias], ["Gemm", "NK", {
    weight: "fc.bias",
    output: "y",
  }]);
  const scaled = gemm({ transB: int(1), alpha: { kind: "float", value: 0.5 } });
  assertEquals(findModules(graphOf([scaled], weights)), []);
});

Deno.test("findModules() sees a dynamically quantised linear from the float input to the float output", () => {
  const model = graphOf(dynamicLinear("x", "fc.weight_quantized", "y"), {
    "fc.weight_quantized": int8s(4, 6),
    "fc.weight_quantized_scale": floats(6),
    "fc.weight_quantized_zero_point": int8s(6),
  });
  const [module] = findModules(model);
  assertEquals([module.path, module.kind, module.bits], ["fc", "MatMulInteger", 8]);
  assertEquals([module.input, module.output], ["x", "y"]);
  assertEquals(module.scales, "fc.weight_quantized_scale");
});

Deno.test("findModules() sees DequantizeLinear before MatMul, transposed or not", () => {
  const codes = tensor("int4", [6, 4], new Uint8Array(12));
  const model = graphOf(
    [
      ["DequantizeLinear", ["fc.weight", "s"], ["d"], { axis: int(-1), block_size: int(2) }],
      ["Transpose", ["d"], ["t"], transpose],
      ["MatMul", ["x", "t"], ["y"]],
    ],
    { "fc.weight": codes, s: floats(6, 2) },
  );
  const [module] = findModules(model);
  assertEquals([module.kind, module.layout, module.bits], ["DequantizeLinear", "NK", 4]);
  assertEquals([module.axis, module.blockSize, module.inFeatures], [1, 2, 4]);
});

const nbits: TinyNode = ["com.microsoft.MatMulNBits", ["x", "w", "s"], ["qkv"], {
  K: int(32),
  N: int(32),
  bits: int(4),
  block_size: int(32),
}];
const packed = (
  input: string,
): TinyNode => ["com.microsoft.GroupQueryAttention", [input, "", ""], ["y"], {
  num_heads: int(4),
  kv_num_heads: int(2),
}];
const nbitsWeights = { w: tensor("uint8", [32, 1, 16], new Uint8Array(512)), s: floats(32, 1) };

Deno.test("findModules() gives the parts of a fused qkv as modules of their own", () => {
  const model = withNodes(
    graphOf([nbits, packed("qkv")], nbitsWeights),
    (_, i) => i === 0 ? { name: "/model/layers.3/attn/qkv_proj/MatMul_Q4" } : {},
  );
  const modules = findModules(model);
  assertEquals(modules.map(({ path, slice }) => [path, slice]), [
    ["model.layers.3.self_attn.q_proj", { offset: 0, size: 16, total: 32 }],
    ["model.layers.3.self_attn.k_proj", { offset: 16, size: 8, total: 32 }],
    ["model.layers.3.self_attn.v_proj", { offset: 24, size: 8, total: 32 }],
  ]);
  assertEquals(modules.map((module) => [module.outFeatures, module.layer]), [[16, 3], [8, 3], [
    8,
    3,
  ]]);
});

Deno.test("findModules() refuses queries, keys and values that do not make up their layer", () => {
  const attention: TinyNode = ["com.microsoft.GroupQueryAttention", ["qkv", "", ""], ["y"], {
    num_heads: int(6),
    kv_num_heads: int(2),
  }];
  const parts: TinyNode = ["Split", ["qkv", "sizes"], ["y", "k", "v"]];
  for (const [node, found] of [[attention, "19.2"], [parts, "2147483647,8,8"]] as const) {
    const model = withNodes(
      graphOf([nbits, node], { ...nbitsWeights, sizes: int64([3], [2 ** 31 - 1, 8, 8]) }),
      (_, i) => i === 0 ? { name: "/model/layers.3/attn/qkv_proj/MatMul_Q4" } : {},
    );
    assertThrows(() => findModules(model), BadInputError, `current sizes are [${found}`);
  }
});

Deno.test("findModules() leaves out weights without elements, whatever their other dimension", () => {
  const model = graphOf(
    [["MatMul", ["x", "fc.weight"], ["h"]], ["MatMul", ["h", "out.weight"], ["y"]]],
    { "fc.weight": floats(4, 0), "out.weight": floats(0, 2 ** 40) },
  );
  assertEquals(findModules(model), []);
});

Deno.test("findModules() takes names from node metadata and strips the exporter's wrapper", () => {
  const model = withNodes(
    graphOf([["MatMul", ["x", "val_1"], ["y"]]], { val_1: floats(4, 4) }),
    () => ({
      metadata: {
        "pkg.torch.onnx.name_scopes":
          "['', 'm', 'm.model', 'm.model.layers.0', 'm.model.layers.0.mlp.up_proj', 'linear']",
        "pkg.torch.onnx.class_hierarchy":
          "['__main__.Wrap', 'transformers.models.llama.LlamaForCausalLM', 'x', 'y', 'z', 'aten']",
      },
    }),
  );
  assertEquals(findModules(model)[0].path, "model.layers.0.mlp.up_proj");
});

Deno.test("findModules() takes the name of the bias where the weight has none", () => {
  const model = graphOf(
    [["MatMul", ["x", "onnx::MatMul_8"], ["h"]], ["Add", ["h", "bert.pooler.dense.bias"], ["y"]]],
    { "onnx::MatMul_8": floats(4, 4), "bert.pooler.dense.bias": floats(4) },
  );
  assertEquals(findModules(model)[0].path, "bert.pooler.dense");
});

Deno.test("findModules() lets no bias that several linears share name any of them", () => {
  const model = graphOf(
    [
      ["MatMul", ["x", "onnx::MatMul_1"], ["a"]],
      ["Add", ["a", "encoder.a.bias"], ["b"]],
      ["MatMul", ["b", "onnx::MatMul_2"], ["c"]],
      ["Add", ["c", "encoder.a.bias"], ["y"]],
    ],
    { "onnx::MatMul_1": floats(4, 4), "onnx::MatMul_2": floats(4, 4), "encoder.a.bias": floats(4) },
  );
  assert(findModules(model).every(({ path }) => path !== "encoder.a"));
});

const ambiguous = () =>
  withNodes(
    graphOf([["MatMul", ["x", "w1"], ["a"]], ["MatMul", ["a", "w2"], ["y"]]], {
      w1: floats(4, 4),
      w2: float32([4, 4], new Float32Array(16).fill(1)),
    }),
    (_, i) => ({ name: `/encoder/fc/MatMul${i === 0 ? "" : "_1"}` }),
  );

Deno.test("findModules() refuses two linears under one path and lists both", () => {
  const error = assertThrows(() => findModules(ambiguous()), BadInputError);
  for (const part of ['"encoder.fc"', "/encoder/fc/MatMul_1", '"w1"', '"w2"']) {
    assert((error as Error).message.includes(part), (error as Error).message);
  }
});

Deno.test("findModules() takes numbered layers for calls of one where they read one weight, not a copy", () => {
  const layers = (second: string) =>
    withNodes(
      graphOf([["MatMul", ["x", "w"], ["a"]], ["MatMul", ["a", second], ["y"]]], {
        w: floats(4, 4),
        copy: floats(4, 4),
      }),
      (_, i) => ({ name: `/encoder/fc${i === 0 ? "" : "_1"}/MatMul` }),
    );
  const calls = (model: Model) =>
    findModules(model).map(({ path, again = [] }) => [path, 1 + again.length]);
  assertEquals(calls(layers("w")), [["encoder.fc", 2]]);
  assertEquals(calls(layers("copy")), [["encoder.fc", 1], ["encoder.fc_1", 1]]);
});

Deno.test("findModules() keeps ambiguous modules for a listing that asks for them", () => {
  const modules = findModules(ambiguous(), { allowAmbiguous: true });
  assertEquals(modules.map(({ path }) => path), ["encoder.fc", "encoder.fc"]);
});

/** Pre-norm attention and a gated feed-forward over nameless weights. */
function namelessLayer(): readonly TinyNode[] {
  return [
    ["MatMul", ["x", "w_v"], ["v"]],
    ["MatMul", ["x", "w_k"], ["k"]],
    ["MatMul", ["x", "w_q"], ["q"]],
    ["Transpose", ["k"], ["kt"], transpose],
    ["MatMul", ["q", "kt"], ["scores"]],
    ["Softmax", ["scores"], ["p"]],
    ["MatMul", ["p", "v"], ["mixed"]],
    ["MatMul", ["mixed", "w_o"], ["o"]],
    ["Add", ["o", "x"], ["r"]],
    ["MatMul", ["r", "w_u"], ["u"]],
    ["MatMul", ["r", "w_g"], ["g"]],
    ["Sigmoid", ["g"], ["sg"]],
    ["Mul", ["g", "sg"], ["act"]],
    ["Mul", ["act", "u"], ["gu"]],
    ["MatMul", ["gu", "w_d"], ["d"]],
    ["Add", ["d", "r"], ["z"]],
    ["MatMul", ["z", "w_h"], ["y"]],
  ];
}

Deno.test("findModules() tells q, k, v, o, gate, up, down and the head by the graph's structure", () => {
  const names = ["v", "k", "q", "o", "u", "g", "d", "h"].map((name) => `w_${name}`);
  const model = graphOf(
    namelessLayer(),
    Object.fromEntries(names.map((name) => [name, floats(4, 4)])),
  );
  assertEquals(Object.fromEntries(findModules(model).map(({ path, weight }) => [weight, path])), {
    w_v: "model.layers.0.self_attn.v_proj",
    w_k: "model.layers.0.self_attn.k_proj",
    w_q: "model.layers.0.self_attn.q_proj",
    w_o: "model.layers.0.self_attn.o_proj",
    w_u: "model.layers.0.mlp.up_proj",
    w_g: "model.layers.0.mlp.gate_proj",
    w_d: "model.layers.0.mlp.down_proj",
    w_h: "lm_head",
  });
});

Deno.test("findModules() tells the gate by an activation of one operator", () => {
  // ONNX has SiLU since operator set 24, as Swish.
  for (const activation of ["Swish", "HardSwish", "Softplus", "com.microsoft.QuickGelu"]) {
    const nodes = namelessLayer().filter(([operator]) => operator !== "Sigmoid")
      .map((node) => node[2][0] === "act" ? [activation, ["g"], ["act"]] as const : node);
    const names = ["v", "k", "q", "o", "u", "g", "d", "h"].map((name) => `w_${name}`);
    const weights = Object.fromEntries(names.map((name) => [name, floats(4, 4)]));
    const paths = findModules(graphOf(nodes, weights))
      .map(({ path, weight }): [string, string] => [weight, path]);
    assertEquals(new Map(paths).get("w_g"), "model.layers.0.mlp.gate_proj", activation);
    assertEquals(new Map(paths).get("w_u"), "model.layers.0.mlp.up_proj", activation);
  }
});

Deno.test("findModules() marks the linear that makes a graph output as the head", () => {
  const model = graphOf(
    [["MatMul", ["x", "a.weight"], ["h"]], ["MatMul", ["h", "b.weight"], ["y"]]],
    { "a.weight": floats(4, 4), "b.weight": float32([4, 4], new Float32Array(16)) },
  );
  assertEquals(findModules(model).map(({ head }) => head), [false, true]);
});
