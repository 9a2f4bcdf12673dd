/**
 * Checks attributes that define sizes against the tensors of the file when it is read: they decide how
 * much memory is allocated, and a few bytes can claim any size.
 */
import { firstNodeProblem } from "../../graph/node_problem.ts";
import { tensorsOf } from "../../graph/nested.ts";
import { intAttribute, intsAttribute } from "../../graph/attributes.ts";
import { elementCount, type Tensor } from "../../graph/tensor.ts";
import { type Graph, type Node, operatorName } from "../../graph/types.ts";

/** Contents of a value in the file, `undefined` for one that is computed or fed. */
type Constant = (name: string | undefined) => Tensor | undefined;

/** Describes the problem with a node's sizes, if any. */
type Check = (node: Node, constant: Constant) => string | undefined;

/** Largest value of sizes that no tensor in the file bounds: heads of attention, windows of pools. */
const MOST = 2 ** 24;

const current = (value: unknown) => `: current value is ${value}`;

/** Reads an integer attribute that must be at least `min`; `fallback` if absent. */
function sizeOf(node: Node, name: string, fallback: number, min = 1): number | string {
  const size = intAttribute(node, name, fallback);
  if (Number.isSafeInteger(size) && size >= min && size <= 2 ** 40) return size;
  return `attribute "${name}" must be a size >= ${min}${current(size)}`;
}

/** The first problem among the sizes, otherwise the one that `check` finds with them. */
function withSizes(
  sizes: readonly (number | string)[],
  check: (...sizes: number[]) => string | undefined,
): string | undefined {
  const problem = sizes.find((size) => typeof size === "string");
  return problem ?? check(...sizes as number[]);
}

/** Checks the number of bytes or elements of a tensor, if it is in the file. */
function holds(
  what: string,
  tensor: Tensor | undefined,
  unit: "bytes" | "elements",
  expected: number,
): string | undefined {
  if (tensor === undefined) return undefined;
  const found = unit === "bytes" ? tensor.bytes.byteLength : elementCount(tensor.dims);
  if (found === expected) return undefined;
  return `its sizes need ${expected} ${unit} of ${what}: the file has ${found}`;
}

/** B is [N, blocks, bytes of a block], scales [N, blocks]. */
const matMulNBits: Check = (node, constant) => {
  const [, B, scales, zeroPoints, groups] = node.inputs.map(constant);
  const sizes = [
    ...[sizeOf(node, "N", 0), sizeOf(node, "K", 0), sizeOf(node, "block_size", 0)],
    sizeOf(node, "bits", 4),
  ];
  return withSizes(sizes, (N, K, blockSize, bits) => {
    if (bits > 8) return `attribute "bits" must be at most 8${current(bits)}`;
    const blocks = Math.ceil(K / blockSize);
    const packed = N * blocks * Math.ceil(blockSize * bits / 8);
    // Weights packed for a runtime's kernels have their own order and padding.
    const prepacked = intAttribute(node, "weight_prepacked", 0) !== 0;
    return (prepacked ? undefined : holds("B", B, "bytes", packed)) ??
      holds("scales", scales, "elements", N * blocks) ??
      // One group index per row, with or without those that fill the last block.
      holds("g_idx", groups, "elements", groups?.dims[0] === K ? K : blocks * blockSize) ??
      (zeroPoints?.dtype === "uint8"
        ? holds("zero_points", zeroPoints, "bytes", N * Math.ceil(blocks * bits / 8))
        : holds("zero_points", zeroPoints, "elements", N * blocks));
  });
};

/** B is [N · K / 2], absmax [N · K / block_size]. */
const matMulBnb4: Check = (node, constant) => {
  const [, B, absmax] = node.inputs.map(constant);
  const sizes = ["N", "K", "block_size"].map((name) => sizeOf(node, name, 0));
  return withSizes(sizes, (N, K, blockSize) =>
    holds("B", B, "bytes", Math.ceil(N * K / 2)) ??
      holds("absmax", absmax, "elements", Math.ceil(N * K / blockSize)));
};

/** Scales have the data's shape, with blocks instead of elements along the quantised axis. */
const gatherBlockQuantized: Check = (node, constant) => {
  const [data, , scales] = node.inputs.map(constant);
  const sizes = [sizeOf(node, "block_size", 128), sizeOf(node, "bits", 4)];
  return withSizes(sizes, (blockSize, bits) => {
    if (data === undefined) return undefined;
    const perByte = data.dtype === "uint8" ? 8 / bits : 1;
    const dims = data.dims.map((dim, i) => i === data.dims.length - 1 ? dim * perByte : dim);
    const axis = axisOf(node, "quantize_axis", 1, dims.length);
    if (typeof axis === "string") return axis;
    return axisProblem(node, "gather_axis", 0, dims.length) ??
      holds("scales", scales, "elements", blockedCount(dims, axis, blockSize));
  });
};

const blockedCount = (dims: readonly number[], axis: number, blockSize: number) =>
  elementCount(dims.map((dim, i) => i === axis ? Math.ceil(dim / blockSize) : dim));

function axisOf(node: Node, name: string, fallback: number, rank: number): number | string {
  const axis = intAttribute(node, name, fallback);
  if (axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  return `attribute "${name}" must be an axis of ${rank} dimensions${current(axis)}`;
}

function axisProblem(node: Node, name: string, fallback: number, rank: number) {
  const axis = axisOf(node, name, fallback, rank);
  return typeof axis === "string" ? axis : undefined;
}

/** One scale for all, one for each index along an axis, or one for each block along it. */
const quantization: Check = (node, constant) => {
  const [values, scales, zeroPoints] = node.inputs.map(constant);
  return withSizes([sizeOf(node, "block_size", 0, 0)], (blockSize) => {
    if (values === undefined || scales === undefined) return undefined;
    const count = elementCount(scales.dims);
    const zeros = zeroPoints && holds("its zero point", zeroPoints, "elements", count);
    if (zeros !== undefined || count === 1) return zeros;
    const axis = axisOf(node, "axis", 1, values.dims.length);
    if (typeof axis === "string") return axis;
    const expected = blockSize === 0
      ? values.dims[axis]
      : blockedCount(values.dims, axis, blockSize);
    return holds("its scale", scales, "elements", expected);
  });
};

/** The number of query heads is a multiple of the number of key heads. */
const heads =
  (names: readonly [query: string, key?: string], required: boolean): Check => (node) => {
    const sizes = names.map((name) => sizeOf(node, name!, required ? 0 : 1));
    return withSizes(sizes, (query, keyValue = 1) => {
      if (query > MOST) return `attribute "${names[0]}" must be <= ${MOST}${current(query)}`;
      if (query % keyValue === 0) return undefined;
      return `attribute "${names[0]}" must be a multiple of "${names[1]}"${
        current(`${query} and ${keyValue}`)
      }`;
    });
  };

/** Columns of queries, keys and values add up to those of the weight. */
const fusedAttention: Check = (node, constant) => {
  const problem = heads(["num_heads"], true)(node, constant);
  const sizes = intsAttribute(node, "qkv_hidden_sizes", undefined);
  const columns = constant(node.inputs[1])?.dims.at(-1);
  if (problem !== undefined || sizes === undefined) return problem;
  const sound = sizes.length === 3 && sizes.every((size) => Number.isSafeInteger(size) && size > 0);
  const sum = sizes.reduce((sum, size) => sum + size, 0);
  if (sound && (columns === undefined || columns === sum)) return undefined;
  return `attribute "qkv_hidden_sizes" must be 3 sizes that add up to ${
    columns ?? "the weight's columns"
  }${current(`[${sizes}]`)}`;
};

/** The recurrent weight is [directions, gates · hidden_size, hidden_size]. */
const recurrent: Check = (node, constant) => {
  const weight = constant(node.inputs[2]);
  if (weight === undefined) return undefined;
  const size = sizeOf(node, "hidden_size", weight.dims.at(-1) ?? 0);
  return withSizes(
    [size],
    (hidden) =>
      weight.dims.at(-1) === hidden
        ? undefined
        : `attribute "hidden_size" must be that of the recurrent weight [${weight.dims}]${
          current(hidden)
        }`,
  );
};

/** Windows of pools and convolutions. */
const windows: Check = (node, constant) => {
  const weight = /Conv/.test(node.opType) ? constant(node.inputs[1]) : undefined;
  const kernel = intsAttribute(node, "kernel_shape", undefined);
  if (
    weight !== undefined && kernel !== undefined && String(kernel) !== String(weight.dims.slice(2))
  ) {
    return `attribute "kernel_shape" must be that of the weight [${weight.dims}]${
      current(`[${kernel}]`)
    }`;
  }
  for (
    const [name, min] of [["kernel_shape", 1], ["strides", 1], ["dilations", 1], [
      "pads",
      0,
    ]] as const
  ) {
    const bad = intsAttribute(node, name, []).find((size) => !(size >= min && size <= MOST));
    if (bad !== undefined) {
      return `attribute "${name}" must be sizes from ${min} to ${MOST}${current(bad)}`;
    }
  }
  return withSizes([sizeOf(node, "group", 1)], () => undefined);
};

/** As many parts as the node has outputs. */
const split: Check = (node) => {
  const parts = intAttribute(node, "num_outputs", node.outputs.length);
  if (parts === node.outputs.length) return undefined;
  return `attribute "num_outputs" must be ${node.outputs.length}, its number of outputs${
    current(parts)
  }`;
};

const CHECKS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["com.microsoft.MatMulNBits", matMulNBits],
  ["com.microsoft.MatMulBnb4", matMulBnb4],
  ["com.microsoft.GatherBlockQuantized", gatherBlockQuantized],
  ...["DequantizeLinear", "QuantizeLinear"].flatMap((name) =>
    ["", "com.microsoft."].map((domain) => [domain + name, quantization] as const)
  ),
  ["com.microsoft.GroupQueryAttention", heads(["num_heads", "kv_num_heads"], true)],
  ["com.microsoft.MultiHeadAttention", heads(["num_heads"], true)],
  ["com.microsoft.Attention", fusedAttention],
  ["com.microsoft.QAttention", fusedAttention],
  ["Attention", heads(["q_num_heads", "kv_num_heads"], false)],
  ...["LSTM", "GRU", "RNN"].map((name) => [name, recurrent] as const),
  ...["Conv", "ConvTranspose", "ConvInteger", "AveragePool", "MaxPool", "LpPool"]
    .map((name) => [name, windows] as const),
  ["Split", split],
]);

/**
 * Describes the first node of a graph or its subgraphs whose sizes do not match its weights.
 *
 * @throws {BadInputError} for an attribute of another kind than the operator reads
 */
export function sizeProblem(graph: Graph): string | undefined {
  return firstNodeProblem<Constant>(
    graph,
    constantsIn,
    (node, constant) => CHECKS.get(operatorName(node))?.(node, constant),
  );
}

function constantsIn(graph: Graph, outer: Constant = () => undefined): Constant {
  const held = tensorsOf(graph);
  return (name) => name === undefined || name === "" ? undefined : held.get(name) ?? outer(name);
}
