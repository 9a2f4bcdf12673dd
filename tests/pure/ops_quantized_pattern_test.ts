import { assert, assertEquals } from "@std/assert";
import { int, ints } from "../../src/graph/attributes.ts";
import { float32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import type { Graph, Node } from "../../src/graph/types.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import { rewriteDynamicQuantization } from "../../src/ops/quantized/pattern.ts";

const node = (
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  rest: Partial<Node> = {},
): Node => ({ name: outputs[0], opType, domain: "", inputs, outputs, attributes: {}, ...rest });

const int8 = (dims: readonly number[]) =>
  tensor("int8", dims, new Uint8Array(dims.reduce((a, b) => a * b, 1)).fill(3));

const INITIALIZERS: Readonly<Record<string, Tensor>> = {
  w: int8([4, 3]),
  w_scale: float32([3], [0.1, 0.2, 0.3]),
  w_zero: int8([3]),
  other: int8([4, 2]),
  one_scale: float32([1], [0.5]),
  one_zero: int8([1]),
  bias: float32([3], [1, 2, 3]),
  q_scale: float32([], [0.25]),
  q_zero: int8([]),
  q_scale_copy: float32([], [0.25]),
  q_scale_else: float32([], [0.125]),
  shape: tensor("int64", [1], new Uint8Array(8).fill(255)),
};

function rewritten(nodes: readonly Node[], ...outputs: readonly string[]): Graph {
  const graph: Graph = {
    name: "g",
    inputs: [{ name: "x", type: { dtype: "float32", shape: ["batch", 4] } }],
    outputs: outputs.map((name) => ({ name })),
    initializers: new Map(Object.entries(INITIALIZERS)),
    nodes,
    valueInfo: new Map(),
  };
  return prune(rewriteDynamicQuantization(graph));
}

/** `y = MatMul(x, w)` for each node, attributes left out. */
const shown = (graph: Graph) =>
  graph.nodes.map(({ outputs, opType, inputs }) => `${outputs} = ${opType}(${inputs})`);

const QUANTIZE = node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]);
const PRODUCT = node("MatMulInteger", ["xq", "w", "xz", "w_zero"], ["p"], { name: "query" });
const CAST = node("Cast", ["p"], ["c"], { attributes: { to: int(1) } });
const FLOATS = [
  "w.dequantized = DequantizeLinear(w,w_scale,w_zero)",
  "y = MatMul(x,w.dequantized)",
];

Deno.test("rewriteDynamicQuantization() knows scales multiplied with each other first", () => {
  const scales = node("Mul", ["xs", "w_scale"], ["s"]);
  for (const pair of [["c", "s"], ["s", "c"]]) {
    const graph = rewritten([QUANTIZE, scales, PRODUCT, CAST, node("Mul", pair, ["y"])], "y");
    assertEquals(shown(graph), FLOATS);
    assertEquals(graph.nodes[0].attributes, { axis: int(1) });
    assertEquals(graph.nodes[1].name, "query");
  }
});

Deno.test("rewriteDynamicQuantization() knows scales applied one after the other", () => {
  for (const [first, second] of [["xs", "w_scale"], ["w_scale", "xs"]]) {
    const nodes = [
      QUANTIZE,
      PRODUCT,
      CAST,
      node("Mul", ["c", first], ["half"]),
      node("Mul", [second, "half"], ["y"]),
    ];
    assertEquals(shown(rewritten(nodes, "y")), FLOATS);
  }
});

Deno.test("rewriteDynamicQuantization() serves several products of one activation", () => {
  const nodes = [
    QUANTIZE,
    node("Mul", ["xs", "w_scale"], ["s"]),
    PRODUCT,
    node("MatMulInteger", ["xq", "other", "xz", "one_zero"], ["p2"]),
    CAST,
    node("Cast", ["p2"], ["c2"], { attributes: { to: int(1) } }),
    node("Mul", ["xs", "one_scale"], ["s2"]),
    node("Mul", ["c", "s"], ["y"]),
    node("Mul", ["c2", "s2"], ["y2"]),
  ];
  const graph = rewritten(nodes, "y", "y2");
  assertEquals(shown(graph), [
    ...FLOATS,
    "other.dequantized = DequantizeLinear(other,one_scale.columns,one_zero.columns)",
    "y2 = MatMul(x,other.dequantized)",
  ]);
  assertEquals(graph.initializers.get("one_scale.columns")?.dims, []);
  assert(graph.initializers.get("w")?.bytes === INITIALIZERS.w.bytes, "weights were copied");
});

Deno.test("rewriteDynamicQuantization() widens one zero point to scales per column", () => {
  const nodes = [
    QUANTIZE,
    node("MatMulInteger", ["xq", "w", "xz", "one_zero"], ["p"]),
    CAST,
    node("Mul", ["xs", "w_scale"], ["s"]),
    node("Mul", ["c", "s"], ["y"]),
  ];
  const { initializers } = rewritten(nodes, "y");
  assertEquals(initializers.get("one_zero.columns"), int8([3]));
});

Deno.test("rewriteDynamicQuantization() leaves a product alone that other scales are applied to", () => {
  const foreign = node("DynamicQuantizeLinear", ["z"], ["zq", "zs", "zz"]);
  const nodes = [
    QUANTIZE,
    node("Relu", ["x"], ["z"]),
    foreign,
    PRODUCT,
    CAST,
    node("Mul", ["zs", "w_scale"], ["s"]),
    node("Mul", ["c", "s"], ["y"]),
  ];
  assert(rewritten(nodes, "y").nodes.some(({ opType }) => opType === "MatMulInteger"));
});

Deno.test("rewriteDynamicQuantization() knows MatMulIntegerToFloat with its bias", () => {
  const domain = "com.microsoft";
  const inputs = ["xq", "w", "xs", "w_scale", "xz", "w_zero", "bias"];
  const graph = rewritten([QUANTIZE, node("MatMulIntegerToFloat", inputs, ["y"], { domain })], "y");
  assertEquals(shown(graph), [
    "w.dequantized = DequantizeLinear(w,w_scale,w_zero)",
    "y.unbiased = MatMul(x,w.dequantized)",
    "y = Add(y.unbiased,bias)",
  ]);
});

Deno.test("rewriteDynamicQuantization() makes an Attention of QAttention", () => {
  const domain = "com.microsoft";
  const attributes = { num_heads: int(1) };
  const inputs = ["xq", "w", "bias", "xs", "w_scale", "", "xz", "w_zero"];
  const graph = rewritten(
    [QUANTIZE, node("QAttention", inputs, ["y"], { domain, attributes })],
    "y",
  );
  assertEquals(shown(graph), [
    "w.dequantized = DequantizeLinear(w,w_scale,w_zero)",
    "y = Attention(x,w.dequantized,bias,,)",
  ]);
  assertEquals(graph.nodes[1].attributes, attributes);
});

const Q = node("QuantizeLinear", ["x", "q_scale", "q_zero"], ["q"]);

Deno.test("rewriteDynamicQuantization() leaves out the rounding of an activation", () => {
  for (const scale of ["q_scale", "q_scale_copy"]) {
    const pair = [Q, node("DequantizeLinear", ["q", scale, "q_zero"], ["y"])];
    assertEquals(shown(rewritten(pair, "y")), ["y = Identity(x)"]);
  }
});

Deno.test("rewriteDynamicQuantization() moves floats where the graph moves integers", () => {
  const nodes = [
    Q,
    node("Reshape", ["q", "shape"], ["r"]),
    node("Transpose", ["r"], ["t"], { attributes: { perm: ints([0]) } }),
    node("DequantizeLinear", ["t", "q_scale", "q_zero"], ["y"]),
  ];
  const graph = rewritten(nodes, "y");
  assertEquals(shown(graph), [
    "r.float = Reshape(x,shape)",
    "t.float = Transpose(r.float)",
    "y = Identity(t.float)",
  ]);
  assertEquals(graph.nodes[1].attributes, { perm: ints([0]) });
});

Deno.test("rewriteDynamicQuantization() splits floats where the graph splits integers", () => {
  const nodes = [
    Q,
    node("Split", ["q", "shape"], ["a", "b"]),
    node("DequantizeLinear", ["a", "q_scale", "q_zero"], ["y"]),
    node("DequantizeLinear", ["b", "q_scale", "q_zero"], ["z"]),
  ];
  assertEquals(shown(rewritten(nodes, "y", "z")), [
    "a.float,b.float = Split(x,shape)",
    "y = Identity(a.float)",
    "z = Identity(b.float)",
  ]);
});

Deno.test("rewriteDynamicQuantization() keeps pairs of other scales and quantised constants", () => {
  const other = [Q, node("DequantizeLinear", ["q", "q_scale_else", "q_zero"], ["y"])];
  assertEquals(rewritten(other, "y").nodes, other);
  const weights = [
    node("QuantizeLinear", ["bias", "q_scale", "q_zero"], ["q"]),
    node("DequantizeLinear", ["q", "q_scale", "q_zero"], ["y"]),
  ];
  assertEquals(rewritten(weights, "y").nodes, weights);
});
