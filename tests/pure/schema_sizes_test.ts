// Each of these files is a few hundred bytes and, believed, would ask for gigabytes.
import { assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { float, int, ints } from "../../src/graph/attributes.ts";
import { sizeProblem } from "../../src/ops/schema/sizes.ts";
import { float32, type Tensor } from "../../src/graph/tensor.ts";
import { type Attribute, type Graph, MICROSOFT } from "../../src/graph/types.ts";

const bytes = (...dims: number[]): Tensor => ({
  dtype: "uint8",
  dims,
  bytes: new Uint8Array(dims.reduce((count, dim) => count * dim, 1)),
});
const floats = (...dims: number[]): Tensor =>
  float32(dims, new Float32Array(dims.reduce((count, dim) => count * dim, 1)));

/** A graph of one node that reads `x` first, then tensors; "" is an input that is left out. */
function graphOf(
  opType: string,
  tensors: readonly (Tensor | "")[],
  attributes: Record<string, Attribute>,
  domain = MICROSOFT,
): Graph {
  const name = (i: number) => `t${i}`;
  return {
    name: "g",
    inputs: [{ name: "x" }],
    outputs: [{ name: "y" }],
    initializers: new Map(tensors.flatMap((tensor, i) => tensor ? [[name(i), tensor]] : [])),
    nodes: [{
      name: "n",
      opType,
      domain,
      inputs: ["x", ...tensors.map((tensor, i) => tensor ? name(i) : "")],
      outputs: ["y"],
      attributes,
    }],
    valueInfo: new Map(),
  };
}

const NBITS = { N: int(4), K: int(40), bits: int(4), block_size: int(32) };
const nbits = (attributes: Record<string, Attribute>, zeroPoints: Tensor | "" = bytes(4)) =>
  graphOf("MatMulNBits", [bytes(4, 2, 16), floats(8), zeroPoints], { ...NBITS, ...attributes });

const bnb4 = (attributes: Record<string, Attribute>) =>
  graphOf("MatMulBnb4", [bytes(80), floats(5)], {
    N: int(4),
    K: int(40),
    block_size: int(32),
    ...attributes,
  });

/** A table [6, 16 bytes] of 4 bits, in blocks of 16 along its last axis. */
const table = (attributes: Record<string, Attribute>): Graph => ({
  ...graphOf("GatherBlockQuantized", [], { block_size: int(16), bits: int(4), ...attributes }),
  initializers: new Map([["data", bytes(6, 16)], ["scales", floats(6, 2)]]),
  nodes: [{
    ...graphOf("GatherBlockQuantized", [], { block_size: int(16), bits: int(4), ...attributes })
      .nodes[0],
    inputs: ["data", "x", "scales"],
  }],
});

const blocked = (attributes: Record<string, Attribute>): Graph => {
  const graph = graphOf("DequantizeLinear", [floats(2, 8)], attributes, "");
  return {
    ...graph,
    initializers: new Map([["codes", bytes(32, 8)], ["t0", floats(2, 8)]]),
    nodes: [{ ...graph.nodes[0], inputs: ["codes", "t0"] }],
  };
};

const attention = (opType: string, attributes: Record<string, Attribute>) =>
  graphOf(opType, [floats(8, 24)], attributes);

Deno.test("sizeProblem() accepts sizes that the weights bear out", () => {
  const sound = [
    nbits({}),
    nbits({}, ""),
    nbits({}, floats(8)),
    graphOf("MatMulNBits", [bytes(4, 2, 16), floats(8), "", bytes(40)], NBITS),
    graphOf("MatMulNBits", [bytes(4, 2, 16), floats(8), "", bytes(64)], NBITS),
    // 40 columns at 8 bits, as a runtime's kernel has ordered them.
    nbits({ weight_prepacked: int(1), K: int(64) }, ""),
    bnb4({}),
    table({}),
    table({ quantize_axis: int(-1) }),
    blocked({ axis: int(0), block_size: int(16) }),
    attention("Attention", { num_heads: int(2) }),
    attention("Attention", { num_heads: int(2), qkv_hidden_sizes: ints([8, 8, 8]) }),
    graphOf("GroupQueryAttention", [], { num_heads: int(4), kv_num_heads: int(2) }),
    graphOf("Conv", [floats(4, 2, 3)], { kernel_shape: ints([3]) }, ""),
    graphOf("LSTM", [floats(1, 32, 8), floats(1, 32, 8)], { hidden_size: int(8) }, ""),
    graphOf("Split", [], { num_outputs: int(1) }, ""),
  ];
  for (const graph of sound) assertEquals(sizeProblem(graph), undefined, graph.nodes[0].opType);
});

const BAD: readonly [what: string, graph: Graph, problem: string][] = [
  ["MatMulNBits with a large N", nbits({ N: int(1 << 28) }), "bytes of B: the file has 128"],
  ["MatMulNBits with a large K", nbits({ K: int(2 ** 40) }), "bytes of B: the file has 128"],
  ["MatMulNBits without N", nbits({ N: int(0) }), '"N" must be a size >= 1'],
  ["MatMulNBits with a negative K", nbits({ K: int(-40) }), '"K" must be a size >= 1'],
  ["MatMulNBits with no block size", nbits({ block_size: int(0) }), '"block_size" must be'],
  ["MatMulNBits with many bits", nbits({ bits: int(64) }), '"bits" must be at most 8'],
  ["MatMulNBits with other blocks", nbits({ block_size: int(16) }), "bytes of B"],
  ["MatMulNBits with more zero points", nbits({}, bytes(8)), "bytes of zero_points"],
  [
    "MatMulNBits with fewer groups than rows",
    graphOf("MatMulNBits", [bytes(4, 2, 16), floats(8), "", bytes(1)], NBITS),
    "elements of g_idx: the file has 1",
  ],
  ["MatMulBnb4 with a large K", bnb4({ K: int(2 ** 31) }), "bytes of B: the file has 80"],
  ["MatMulBnb4 with other blocks", bnb4({ block_size: int(16) }), "elements of absmax"],
  ["a table with other blocks", table({ block_size: int(1) }), "elements of scales"],
  ["a table with no axis", table({ quantize_axis: int(7) }), '"quantize_axis" must be an axis'],
  ["blocks that are none", blocked({ axis: int(0), block_size: int(3) }), "of its scale"],
  ["no heads", attention("Attention", {}), '"num_heads" must be a size >= 1'],
  [
    "more heads than a model can have",
    attention("MultiHeadAttention", { num_heads: int(2 ** 31) }),
    '"num_heads" must be <= 16777216',
  ],
  [
    "heads that are no multiple",
    graphOf("GroupQueryAttention", [], { num_heads: int(4), kv_num_heads: int(3) }),
    'a multiple of "kv_num_heads": current value is 4 and 3',
  ],
  [
    "hidden sizes of another weight",
    attention("QAttention", { num_heads: int(2), qkv_hidden_sizes: ints([8, 8, 2 ** 31]) }),
    "3 sizes that add up to 24",
  ],
  [
    "a kernel of another weight",
    graphOf("Conv", [floats(4, 2, 3)], { kernel_shape: ints([3_000_000]) }, ""),
    '"kernel_shape" must be that of the weight [4,2,3]',
  ],
  ["a step of a pool", graphOf("MaxPool", [], { strides: ints([0]) }, ""), '"strides" must be'],
  [
    "a hidden size of another weight",
    graphOf("GRU", [floats(1, 24, 8), floats(1, 24, 8)], { hidden_size: int(2 ** 30) }, ""),
    '"hidden_size" must be that of the recurrent weight',
  ],
  ["more parts than outputs", graphOf("Split", [], { num_outputs: int(1 << 30) }, ""), "must be 1"],
];

/** Operators that a check serves besides those of {@linkcode BAD}, with the sizes that it refuses. */
const ALIKE: readonly [names: string, graph: (opType: string, domain: string) => Graph][] = [
  ["DequantizeLinear QuantizeLinear com.microsoft.DequantizeLinear com.microsoft.QuantizeLinear", (
    opType,
    domain,
  ) => {
    const graph = blocked({ axis: int(0), block_size: int(3) });
    return { ...graph, nodes: [{ ...graph.nodes[0], opType, domain }] };
  }],
  [
    "LSTM GRU RNN",
    (opType) =>
      graphOf(opType, [floats(1, 8, 8), floats(1, 8, 8)], { hidden_size: int(2 ** 30) }, ""),
  ],
  [
    "Conv ConvTranspose ConvInteger",
    (opType) => graphOf(opType, [floats(4, 2, 3)], { kernel_shape: ints([3_000_000]) }, ""),
  ],
  [
    "AveragePool MaxPool LpPool",
    (opType) => graphOf(opType, [], { kernel_shape: ints([2 ** 31]) }, ""),
  ],
  ["Attention", (opType) => graphOf(opType, [], { q_num_heads: int(2 ** 31) }, "")],
];

Deno.test("sizeProblem() knows the sizes of every operator of a kind", () => {
  for (const [names, graph] of ALIKE) {
    for (const name of names.split(" ")) {
      const [opType, domain] = [name.split(".").at(-1)!, name.includes(".") ? MICROSOFT : ""];
      assertEquals(sizeProblem(graph(opType, domain))?.startsWith("node 0 ("), true, name);
    }
  }
});

for (const [what, graph, problem] of BAD) {
  Deno.test(`sizeProblem() refuses ${what}, naming the node and the value`, () => {
    const found = sizeProblem(graph) ?? "";
    assertEquals(found.startsWith("node 0 ("), true, found);
    assertEquals(found.includes(problem), true, found);
  });
}

Deno.test("sizeProblem() looks into branches, where weights of the graph around them count", () => {
  const inner = nbits({ N: int(1 << 28) });
  const graph: Graph = {
    ...inner,
    nodes: [{
      ...inner.nodes[0],
      opType: "If",
      domain: "",
      inputs: ["x"],
      attributes: { then_branch: { kind: "graph", value: { ...inner, initializers: new Map() } } },
    }],
  };
  assertEquals(sizeProblem(graph)?.includes("bytes of B"), true);
});

Deno.test("sizeProblem() refuses a size of another kind with a typed error", () => {
  assertThrows(() => sizeProblem(nbits({ N: float(4) })), BadInputError, '"N" of com.microsoft');
});
