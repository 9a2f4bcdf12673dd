/** Cases of linear layers and normalisations. */
import { float, int, string } from "../../../src/graph/attributes.ts";
import type { OpCase } from "../gradcheck.ts";
import { f, fc } from "./inputs.ts";

const positive = (dims: number[]) =>
  f(dims, Array.from({ length: dims.reduce((x, y) => x * y, 1) }, (_, i) => 0.5 + i % 3));

const MATMUL: [string, number[], number[]][] = [
  ["matrices", [2, 3], [3, 4]],
  ["tokens against one matrix", [2, 2, 3], [3, 2]],
  ["a stack of one matrix", [2, 2, 3], [1, 3, 2]],
  ["stacks", [2, 2, 3], [2, 3, 2]],
  ["stacks, the second broadcast", [2, 2, 1, 3], [2, 3, 2]],
  ["stacks, the first broadcast", [2, 3], [2, 3, 2]],
  ["vectors", [3], [3]],
  ["a vector first", [3], [3, 2]],
  ["a vector first, against a stack", [3], [2, 3, 2]],
  ["a vector second", [2, 2, 3], [3]],
  ["no rows", [0, 3], [3, 2]],
];

const GEMM: [string, Record<string, ReturnType<typeof int> | ReturnType<typeof float>>][] = [
  ["plain", {}],
  ["transA", { transA: int(1) }],
  ["transB", { transB: int(1) }],
  ["both transposed, alpha and beta", {
    transA: int(1),
    transB: int(1),
    alpha: float(0.5),
    beta: float(2),
  }],
];

export const LAYER_CASES: readonly OpCase[] = [
  ...MATMUL.map(([title, x, y]): OpCase => ({ title, opType: "MatMul", inputs: [f(x), f(y)] })),
  { title: "a frozen right matrix", opType: "MatMul", inputs: [f([2, 2, 3]), fc([3, 2])] },
  ...GEMM.map(([title, attributes]): OpCase => ({
    title,
    opType: "Gemm",
    attributes,
    inputs: [
      f("transA" in attributes ? [3, 2] : [2, 3]),
      f("transB" in attributes ? [4, 3] : [3, 4]),
      f([4]),
    ],
  })),
  { title: "without C", opType: "Gemm", inputs: [f([2, 3]), f([3, 2])] },
  { title: "C as a column", opType: "Gemm", inputs: [f([2, 3]), f([3, 2]), f([2, 1])] },
  { title: "C as a scalar", opType: "Gemm", inputs: [f([2, 3]), f([3, 2]), f([])] },
  { title: "one axis", opType: "LayerNormalization", inputs: [f([2, 4]), f([4]), f([4])] },
  {
    title: "two axes, without bias",
    opType: "LayerNormalization",
    inputs: [f([2, 2, 3]), f([2, 3])],
    attributes: {
      axis: int(1),
      epsilon: float(0.01),
    },
  },
  { title: "no rows", opType: "LayerNormalization", inputs: [f([0, 4]), f([4]), f([4])] },
  {
    title: "one axis",
    opType: "SimplifiedLayerNormalization",
    inputs: [f([2, 4]), f([4])],
    attributes: {
      axis: int(-1),
      epsilon: float(0.01),
      stash_type: int(1),
    },
  },
  {
    title: "at zero, and scales of zero",
    opType: "SimplifiedLayerNormalization",
    attributes: { epsilon: float(0.5) },
    inputs: [
      f([2, 2], [0, 0, 1, -1]),
      f([2], [0, 2]),
    ],
  },
  {
    title: "one axis",
    opType: "RMSNormalization",
    opset: 23,
    since: [1, 24],
    inputs: [f([2, 4]), f([4])],
  },
  {
    title: "two axes",
    opType: "RMSNormalization",
    opset: 23,
    since: [1, 24],
    attributes: { axis: int(-2) },
    inputs: [
      f([2, 2, 3]),
      f([2, 3]),
    ],
  },
  {
    title: "one scale for all",
    opType: "RMSNormalization",
    opset: 23,
    since: [1, 24],
    inputs: [f([2, 3]), f([1])],
  },
  {
    title: "a channel each",
    opType: "BatchNormalization",
    inputs: [f([2, 3, 2]), f([3]), f([3]), f([3]), positive([3])],
  },
  {
    title: "images, an epsilon of its own, before operator set 9",
    opType: "BatchNormalization",
    opset: 8,
    attributes: { epsilon: float(0.1), momentum: float(0.5) },
    inputs: [f([2, 2, 2, 3]), f([2]), f([2]), f([2]), positive([2])],
  },
  {
    title: "no spatial axes",
    opType: "BatchNormalization",
    attributes: { training_mode: int(0) },
    inputs: [f([3, 2]), fc([2]), fc([2]), fc([2]), positive([2])],
  },
  {
    title: "at zero, a scale of zero",
    opType: "BatchNormalization",
    inputs: [f([1, 2, 2], [0, 0, 1, 0]), f([2], [0, 1]), f([2], [0, 0]), f([2], [0, 0]), {
      ...positive([2]),
      constant: true,
    }],
  },
  {
    title: "one spatial axis, an epsilon of its own",
    opType: "InstanceNormalization",
    attributes: { epsilon: float(0.25) },
    inputs: [f([2, 3, 4]), f([3]), f([3])],
  },
  {
    title: "a channel of zeros",
    opType: "InstanceNormalization",
    attributes: { epsilon: float(0.5) },
    inputs: [f([1, 2, 3], [0, 0, 0, 1, -1, 0.5]), f([2]), f([2])],
  },
  { title: "images", opType: "InstanceNormalization", inputs: [f([2, 2, 2, 2]), f([2]), f([2])] },
  {
    title: "two groups",
    opType: "GroupNormalization",
    attributes: { num_groups: int(2) },
    inputs: [
      f([2, 4, 3]),
      f([4]),
      f([4]),
    ],
  },
  { title: "the last axis", opType: "LpNormalization", inputs: [f([2, 3])] },
  {
    title: "p = 1, the first axis",
    opType: "LpNormalization",
    attributes: { p: int(1), axis: int(0) },
    inputs: [
      f([2, 2], [0.5, -1, 2, 1.5]),
    ],
  },
  ...[
    "ij,jk->ik",
    "bij,bjk->bik",
    "bhid,bhjd->bhij",
    "ij,kj->ki",
    "i,j->ij",
    "bij,j->bi",
    "ij,ij->",
    "ij,jk",
  ].map(
    (equation): OpCase => {
      const sizes: Record<string, number> = { b: 2, h: 2, i: 3, j: 2, k: 2, d: 3 };
      const terms = equation.split("->")[0].split(",");
      return {
        title: equation,
        opType: "Einsum",
        attributes: { equation: string(equation) },
        inputs: terms.map((term) => f([...term].map((name) => sizes[name]))),
      };
    },
  ),
  {
    title: "an ellipsis",
    opType: "Einsum",
    attributes: { equation: string("...ij,...jk->...ik") },
    inputs: [
      f([2, 2, 3]),
      f([2, 3, 2]),
    ],
  },
  {
    title: "three operands",
    opType: "Einsum",
    attributes: { equation: string("ab,bc,cd->ad") },
    inputs: [
      f([2, 2]),
      f([2, 3]),
      f([3, 2]),
    ],
  },
  {
    title: "one operand",
    opType: "Einsum",
    attributes: { equation: string("abc->ca") },
    inputs: [f([2, 3, 2])],
  },
  {
    title: "without its statistics, defaults",
    opType: "LayerNormalization",
    asEmitted: true,
    inputs: [f([2, 4]), f([4]), f([4])],
  },
  {
    title: "without its inverse deviation",
    opType: "SimplifiedLayerNormalization",
    asEmitted: true,
    attributes: { epsilon: float(0.5) },
    inputs: [f([2, 3]), f([3])],
  },
  {
    title: "a row of zeros",
    opType: "LpNormalization",
    wrt: [],
    inputs: [f([2, 2], [0, 0, 3, 4])],
  },
  {
    title: "p = 1, a row of zeros",
    opType: "LpNormalization",
    wrt: [],
    attributes: { p: int(1) },
    inputs: [f([2, 2], [0, 0, 3, 1])],
  },
];
