/** Shapes of operators' outputs, as far as they follow from input shapes and constants. */
import { intAttribute, intsAttribute } from "../../graph/attributes.ts";
import type { Node } from "../../graph/types.ts";

/** One entry per dimension: its size, `undefined` if unknown. */
export type PartialShape = readonly (number | undefined)[];

/** Arguments of a rule: shapes of the inputs, and integers that the file holds. */
export interface Asked {
  readonly node: Node;
  readonly shape: (input: number) => PartialShape | undefined;
  /** Entries of an input, or of an attribute of that name; `undefined` if neither is in the file. */
  readonly numbers: (input: number, attribute: string) => readonly number[] | undefined;
}

/** The shape of the first output. */
type Rule = (asked: Asked) => PartialShape | undefined;

const unknown = (rank: number | undefined): PartialShape | undefined =>
  rank !== undefined && rank >= 0 && rank <= MOST_DIMENSIONS
    ? new Array(rank).fill(undefined)
    : undefined;

/** Most dimensions of a value: ONNX Runtime's kernels take fewer. */
export const MOST_DIMENSIONS = 64;

/** Keeps the number of dimensions; sizes are unknown. */
const sameRank: Rule = ({ shape }) => unknown(shape(0)?.length);
const same: Rule = ({ shape }) => shape(0);

const broadcast: Rule = ({ node, shape }) => {
  const shapes = node.inputs.map((_, i) => shape(i));
  if (shapes.length === 0 || shapes.some((each) => each === undefined)) return undefined;
  return shapes.reduce((a, b) => broadcastOf(a!, b!));
};

/** The broadcast shape of two shapes: of each pair of sizes the one that is not 1. */
function broadcastOf(a: PartialShape, b: PartialShape): PartialShape {
  const rank = Math.max(a.length, b.length);
  const at = (shape: PartialShape, i: number) =>
    i < rank - shape.length ? 1 : shape[i - rank + shape.length];
  return Array.from({ length: rank }, (_, i) => {
    const [one, other] = [at(a, i), at(b, i)];
    if (one === 1) return other;
    return other === 1 ? one : one ?? other;
  });
}

/** Products whose operands an attribute may transpose. */
const matMulRank: Rule = ({ shape }) => {
  const [a, b] = [shape(0)?.length, shape(1)?.length];
  if (a === undefined || b === undefined || a === 0 || b === 0) return undefined;
  const batch = Math.max(a, b, 2) - 2;
  return unknown(batch + (a > 1 ? 1 : 0) + (b > 1 ? 1 : 0));
};

/** Sizes of rows and columns; leading dimensions are broadcast and unknown. */
const matMul: Rule = (asked) => {
  const [a, b, product] = [asked.shape(0), asked.shape(1), matMulRank(asked)];
  if (a === undefined || b === undefined || product === undefined) return undefined;
  const ends = [...(a.length > 1 ? [a.at(-2)] : []), ...(b.length > 1 ? [b.at(-1)] : [])];
  return [...product.slice(0, product.length - ends.length), ...ends];
};

/** The weight is packed: an attribute has its columns. */
const packedMatMul: Rule = ({ node, shape }) => {
  const rows = shape(0);
  return rows && [...rows.slice(0, -1), intAttribute(node, "N", 0) || undefined];
};

/** A size that the file gives; `undefined` for one that stands for another, as -1 does. */
const given = (size: number): number | undefined => size >= 0 ? size : undefined;

/** The sizes are a list with an entry per dimension. */
const sizesIn = (input: number): Rule => ({ shape, numbers }) => {
  const sizes = numbers(input, "shape");
  return sizes === undefined ? unknown(shape(input)?.[0]) : sizes.map(given);
};

/** 0 stands for the size at its place, -1 for what is left of the elements. */
const reshape: Rule = (asked) => {
  const { node, shape, numbers } = asked;
  const [dims, sizes] = [shape(0), numbers(1, "shape")];
  if (sizes === undefined) return sizesIn(1)(asked);
  const copies = intAttribute(node, "allowzero", 0) === 0;
  const known = sizes.map((size, i) => size === 0 && copies ? dims?.[i] : given(size));
  if (sizes.filter((size) => size === -1).length !== 1) return known;
  const [all, others] = [dims, known.filter((_, i) => sizes[i] !== -1)].map(elements);
  const left = all === undefined || others === undefined ? undefined : all / others;
  return known.map((size, i) => sizes[i] === -1 && Number.isSafeInteger(left) ? left : size);
};

/** The number of elements; `undefined` if a size is unknown. */
function elements(dims: PartialShape | undefined): number | undefined {
  return dims?.reduce<number | undefined>(
    (count, size) => count === undefined || size === undefined ? undefined : count * size,
    1,
  );
}

const tile: Rule = ({ shape, numbers }) => {
  const [dims, repeats] = [shape(0), numbers(1, "repeats")];
  if (dims === undefined || repeats?.length !== dims.length) return unknown(dims?.length);
  return dims.map((size, i) => {
    const times = given(repeats[i]);
    return size === undefined || times === undefined ? undefined : size * times;
  });
};

const shapeOf: Rule = ({ node, shape }) => {
  const rank = shape(0)?.length;
  if (rank === undefined) return [undefined];
  const at = (position: number) =>
    Math.min(Math.max(position < 0 ? position + rank : position, 0), rank);
  const [start, end] = [intAttribute(node, "start", 0), intAttribute(node, "end", rank)];
  return [Math.max(0, at(end) - at(start))];
};

const gather: Rule = ({ node, shape }) => {
  const [data, indices] = [shape(0), shape(1)];
  if (data === undefined || indices === undefined || data.length === 0) return undefined;
  const axis = intAttribute(node, "axis", 0);
  const at = axis < 0 ? axis + data.length : axis;
  return [...data.slice(0, at), ...indices, ...data.slice(at + 1)];
};

/** Blocks are packed along the last axis, so the table does not give the number of columns. */
const gatherBlocks: Rule = ({ shape }) => {
  const [data, indices] = [shape(0)?.length, shape(1)?.length];
  return unknown(data === undefined || indices === undefined ? undefined : data + indices - 1);
};

const expand: Rule = (asked) => {
  const [dims, sizes] = [asked.shape(0), sizesIn(1)(asked)];
  return dims === undefined || sizes === undefined ? undefined : broadcastOf(dims, sizes);
};

const unsqueeze: Rule = ({ shape, numbers }) => {
  const [rank, axes] = [shape(0)?.length, numbers(1, "axes")];
  if (rank === undefined || axes === undefined) return undefined;
  return rank === 0 && axes.length === 1 ? [1] : unknown(rank + axes.length);
};

const squeeze: Rule = ({ node, shape, numbers }) => {
  const [dims, axes] = [shape(0), numbers(1, "axes")];
  if (dims === undefined) return undefined;
  if (axes !== undefined) {
    const removed = new Set(axes.map((axis) => axis < 0 ? axis + dims.length : axis));
    const left = dims.filter((_, axis) => !removed.has(axis));
    return left.length === dims.length - axes.length ? left : unknown(dims.length - axes.length);
  }
  const isComputed = (node.inputs[1] ?? "") !== "";
  if (isComputed || dims.includes(undefined)) return undefined;
  return dims.filter((size) => size !== 1);
};

const concat: Rule = ({ node, shape }) => {
  const shapes = node.inputs.map((_, i) => shape(i));
  const rank = shapes.find((each) => each !== undefined)?.length;
  if (rank !== 1) return unknown(rank);
  const sizes = shapes.map((each) => each?.[0]);
  return [
    sizes.every((size) => size !== undefined)
      ? sizes.reduce((sum, size) => sum! + size!, 0)
      : undefined,
  ];
};

const slice: Rule = ({ shape, numbers }) => {
  const [dims, starts, ends] = [shape(0), numbers(1, "starts"), numbers(2, "ends")];
  const steps = numbers(4, "steps");
  if (dims?.length !== 1 || dims[0] === undefined || starts === undefined || ends === undefined) {
    return unknown(dims?.length);
  }
  const size = dims[0];
  const at = (position: number) =>
    Math.min(Math.max(position < 0 ? position + size : position, 0), size);
  const step = steps?.[0] ?? 1;
  return [step > 0 ? Math.max(0, Math.ceil((at(ends[0]) - at(starts[0])) / step)) : undefined];
};

const reduce: Rule = ({ node, shape, numbers }) => {
  const rank = shape(0)?.length;
  if (rank === undefined || intAttribute(node, "keepdims", 1) !== 0) return unknown(rank);
  const axes = numbers(1, "axes");
  if (axes !== undefined && axes.length > 0) return unknown(rank - axes.length);
  const isComputed = (node.inputs[1] ?? "") !== "";
  if (isComputed || intAttribute(node, "noop_with_empty_axes", 0) !== 0) return undefined;
  return [];
};

const range: Rule = ({ numbers }) => {
  const [start, limit, delta] = [0, 1, 2].map((input) => numbers(input, "")?.[0]);
  if (start === undefined || limit === undefined || !delta) return [undefined];
  return [Math.max(0, Math.ceil((limit - start) / delta))];
};

const transpose: Rule = ({ node, shape }) => {
  const dims = shape(0);
  const order = intsAttribute(node, "perm", undefined) ?? dims?.map((_, i) => i).toReversed();
  if (dims === undefined || order?.length !== dims.length) return unknown(dims?.length);
  return order.map((axis) => dims[axis]);
};

const argReduce: Rule = ({ node, shape }) => {
  const rank = shape(0)?.length;
  return unknown(rank !== undefined && intAttribute(node, "keepdims", 1) === 0 ? rank - 1 : rank);
};

const oneMore: Rule = ({ shape }) => {
  const rank = shape(0)?.length;
  return unknown(rank === undefined ? undefined : rank + 1);
};

const ofRank = (rank: number): Rule => () => unknown(rank);

/** The value of a Constant, by the attribute that has it. */
const constant: Rule = ({ node: { attributes } }) => {
  const { value, value_int, value_float, value_string, value_ints, value_floats } = attributes;
  if (value?.kind === "tensor") return value.value.dims;
  if (value_int ?? value_float ?? value_string) return [];
  const list = value_ints ?? value_floats;
  return list?.kind === "ints" || list?.kind === "floats" ? [list.value.length] : undefined;
};

const rows: readonly (readonly [Rule, string])[] = [
  [same, "Abs Cast Ceil Clip CumSum DequantizeLinear Dropout Elu Erf Exp Floor Gelu HardSigmoid"],
  [same, "HardSwish Identity IsInf IsNaN LayerNormalization LeakyRelu Log LogSoftmax Mish Neg Not"],
  [same, "QuantizeLinear RMSNormalization Reciprocal Relu Round Selu Sigmoid Sign Sin Cos Softmax"],
  [
    same,
    "SimplifiedLayerNormalization Softplus Softsign Sqrt Swish Tan Tanh Trilu ScatterElements",
  ],
  [same, "ScatterND Scatter DynamicQuantizeLinear RotaryEmbedding Bernoulli Hardmax Celu"],
  [
    same,
    "com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.BiasGelu com.microsoft.QuickGelu",
  ],
  [same, "com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization"],
  [same, "com.microsoft.RotaryEmbedding com.microsoft.BiasAdd com.microsoft.BiasSoftmax"],
  [same, "com.microsoft.DequantizeLinear com.microsoft.QuantizeLinear"],
  [sameRank, "Split Pad TopK Upsample Resize Conv ConvInteger AveragePool MaxPool"],
  [packedMatMul, "com.microsoft.MatMulNBits com.microsoft.MatMulBnb4"],
  [
    sameRank,
    "com.microsoft.GroupQueryAttention com.microsoft.Attention com.microsoft.QAttention ReverseSequence",
  ],
  [broadcast, "Add Sub Mul Div Pow Mod Min Max Sum Mean And Or Xor Equal Greater GreaterOrEqual"],
  [broadcast, "Less LessOrEqual Where PRelu BitShift BitwiseAnd BitwiseOr BitwiseXor"],
  [matMul, "MatMul MatMulInteger com.microsoft.DynamicQuantizeMatMul"],
  [matMul, "com.microsoft.MatMulIntegerToFloat"],
  [matMulRank, "com.microsoft.FusedMatMul com.microsoft.TransposeMatMul"],
  [ofRank(2), "Gemm Flatten NonZero com.microsoft.FusedGemm com.microsoft.QGemm"],
  [ofRank(3), "com.microsoft.EmbedLayerNormalization com.microsoft.GroupQueryAttention"],
  [ofRank(3), "com.microsoft.MultiHeadAttention"],
  [ofRank(1), "Compress"],
  [range, "Range"],
  [transpose, "Transpose"],
  [ofRank(0), "Size"],
  [({ shape }) => shape(1), "GatherElements"],
  [gather, "Gather"],
  [gatherBlocks, "com.microsoft.GatherBlockQuantized"],
  [reshape, "Reshape"],
  [tile, "Tile"],
  [sizesIn(0), "ConstantOfShape RandomUniform RandomNormal"],
  [expand, "Expand"],
  [unsqueeze, "Unsqueeze"],
  [squeeze, "Squeeze"],
  [concat, "Concat"],
  [slice, "Slice"],
  [shapeOf, "Shape"],
  [reduce, "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin"],
  [reduce, "ReduceProd ReduceSum ReduceSumSquare"],
  [argReduce, "ArgMax ArgMin"],
  [oneMore, "OneHot"],
  [constant, "Constant"],
];

/** The rule of each operator, by its name as `operatorName()` gives it. */
export const SHAPE_RULES: ReadonlyMap<string, Rule> = new Map(
  rows.flatMap(([rule, names]) => names.split(" ").map((name) => [name, rule] as const)),
);

/** Outputs after the first, by position. */
export const OTHER_OUTPUTS: ReadonlyMap<
  string,
  (first: PartialShape, position: number) => PartialShape | undefined
> = new Map([
  ["Split", (first) => first],
  ["TopK", (first) => first],
  ["DynamicQuantizeLinear", () => []],
  // Means and deviations, outputs 1 and 2 of other operators, are not read by inference graphs.
  ...["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"].map((name) =>
    [
      `com.microsoft.${name}`,
      (first: PartialShape, at: number) => at === 3 ? first : undefined,
    ] as const
  ),
  ["com.microsoft.EmbedLayerNormalization", (first, at) => at === 1 ? [undefined] : first],
]);
