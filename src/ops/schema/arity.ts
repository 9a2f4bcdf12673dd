/**
 * Checks the numbers of inputs and outputs of operators, so that other code can rely on required inputs
 * and on the first output.
 *
 * Sources: the schemas of ONNX 1.23, over all operator sets; docs/ContribOperators.md of ONNX Runtime.
 */
import { firstNodeProblem } from "../../graph/node_problem.ts";
import { type Graph, MICROSOFT, type Node, operatorName } from "../../graph/types.ts";

/**
 * Numbers of inputs and of outputs ("2", "1..3", "1.." without an upper bound), and the operators that
 * have them.
 */
type Row = readonly [inputs: string, outputs: string, ...operators: string[]];

const STANDARD: readonly Row[] = [
  ["0", "1", "Constant RandomNormal RandomUniform SequenceEmpty"],
  ["0..1", "1", "Optional OptionalHasElement"],
  [
    "1",
    "1",
    "Abs Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh AveragePool Bernoulli",
    "BitCast BitwiseNot BlackmanWindow Cast Ceil Celu ConcatFromSequence",
    "ConstantOfShape Cos Cosh DepthToSpace Det Elu Erf Exp EyeLike Flatten Floor",
    "Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool HammingWindow HannWindow",
    "HardSigmoid HardSwish Hardmax Identity ImageDecoder IsInf IsNaN LRN LeakyRelu",
    "Log LogSoftmax LpNormalization LpPool MeanVarianceNormalization Mish",
    "Multinomial Neg NonZero Not OptionalGetElement RandomNormalLike",
    "RandomUniformLike Reciprocal RegexFullMatch Relu Round Selu SequenceLength",
    "Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign SpaceToDepth",
    "Sqrt StringNormalizer Swish Tan Tanh TfIdfVectorizer ThresholdedRelu Transpose",
  ],
  ["1", "1..2", "MaxPool"],
  ["1", "1..4", "Unique"],
  ["1", "1..", "If"],
  ["1", "2", "StringSplit"],
  ["1", "3", "DynamicQuantizeLinear"],
  [
    "1..2",
    "1",
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin",
    "ReduceProd ReduceSum ReduceSumSquare Reshape SequenceErase SplitToSequence",
    "Squeeze Trilu Unsqueeze Upsample",
  ],
  ["1..2", "1..", "Split"],
  ["1..2", "2", "TopK"],
  ["1..3", "1", "Clip DFT"],
  ["1..3", "1..2", "Dropout"],
  ["1..4", "1", "Pad Resize"],
  ["1..5", "1", "Slice"],
  ["1..", "1", "Concat Einsum Max Mean Min SequenceConstruct Sum"],
  ["1..", "1..", "Scan SequenceMap"],
  [
    "2",
    "1",
    "Add AffineGrid And BitShift BitwiseAnd BitwiseOr BitwiseXor CastLike",
    "CenterCropPad Compress CumProd CumSum Div Equal Expand Gather GatherElements",
    "GatherND Greater GreaterOrEqual GridSample Less LessOrEqual MatMul MaxRoiPool",
    "Mod Mul Or PRelu Pow RMSNormalization ReverseSequence SequenceAt StringConcat",
    "Sub SwiGLU Xor",
  ],
  [
    "2..3",
    "1",
    "Conv ConvTranspose DequantizeLinear Gemm MaxUnpool NegativeLogLikelihoodLoss",
    "QuantizeLinear SequenceInsert TensorScatter Tile",
  ],
  ["2..3", "1..2", "SoftmaxCrossEntropyLoss"],
  ["2..3", "1..3", "LayerNormalization"],
  ["2..4", "1", "ConvInteger MatMulInteger STFT"],
  ["2..4", "2", "CausalConvWithState"],
  ["2..5", "1", "NonMaxSuppression"],
  // Trip count and condition may both be left out.
  ["0..", "1..", "Loop"],
  [
    "3",
    "1",
    "Col2Im GroupNormalization InstanceNormalization OneHot Range RoiAlign Scatter",
    "ScatterElements ScatterND Where",
  ],
  ["3..4", "1", "RotaryEmbedding"],
  ["3..5", "1", "DeformConv"],
  ["3..6", "0..2", "GRU RNN"],
  ["3..6", "2", "LinearAttention"],
  ["3..7", "1..4", "Attention"],
  ["3..8", "0..3", "LSTM"],
  ["5", "1", "MelWeightMatrix"],
  ["5", "1..5", "BatchNormalization"],
  ["8", "1", "QLinearMatMul"],
  ["8..9", "1", "QLinearConv"],
];

/** ONNX Runtime's own. */
const CONTRIBUTED: readonly Row[] = [
  ["1", "1", "Gelu QuickGelu"],
  ["1..10", "1..4", "MultiHeadAttention"],
  ["1..2", "1", "FastGelu"],
  ["2", "1", "BiasGelu BiasSoftmax FusedMatMul TransposeMatMul"],
  ["2..3", "1", "DequantizeLinear FusedGemm QuantizeLinear"],
  ["2..7", "1..2", "Attention"],
  ["3", "1", "MatMulBnb4"],
  ["3", "1", "BiasAdd"],
  ["3..4", "1", "GatherBlockQuantized"],
  ["3..4", "1..4", "SkipSimplifiedLayerNormalization"],
  ["3..5", "1", "DynamicQuantizeMatMul"],
  ["3..5", "1..4", "SkipLayerNormalization"],
  ["3..6", "1", "MatMulNBits"],
  ["4", "1", "RotaryEmbedding"],
  [
    "4..5",
    "1",
    "QLinearAveragePool QLinearGlobalAveragePool QLinearLeakyRelu QLinearSigmoid",
    "QLinearSoftmax",
  ],
  ["4..7", "1", "MatMulIntegerToFloat"],
  ["5..", "1", "QLinearConcat"],
  ["5..9", "1..2", "QAttention"],
  ["6..9", "1", "QGemm"],
  ["7..17", "1..4", "GroupQueryAttention"],
  ["7..8", "1", "QLinearAdd QLinearMul"],
  ["7..9", "2..3", "EmbedLayerNormalization"],
  ["9", "1", "QLinearWhere"],
];

type Range = readonly [least: number, most: number];

interface Arity {
  readonly inputs: Range;
  readonly outputs: Range;
}

function rangeOf(text: string): Range {
  const [least, most = least] = text.split("..");
  return [Number(least), most === "" ? Infinity : Number(most)];
}

function entries(rows: readonly Row[], domain: string): [string, Arity][] {
  return rows.flatMap(([inputs, outputs, ...lines]) =>
    lines.flatMap((line) => line.split(" ")).map((opType): [string, Arity] => [
      operatorName({ domain, opType }),
      { inputs: rangeOf(inputs), outputs: rangeOf(outputs) },
    ])
  );
}

const ARITY: ReadonlyMap<string, Arity> = new Map([
  ...entries(STANDARD, ""),
  ...entries(CONTRIBUTED, MICROSOFT),
]);

/** Number of names up to the last non-empty one: optional ones at the end may be omitted or empty. */
function count(names: readonly string[]): number {
  return names.findLastIndex((name) => name !== "") + 1;
}

function problemOf(what: string, found: number, [least, most]: Range) {
  if (found >= least && found <= most) return undefined;
  const range = least === most
    ? least
    : most === Infinity
    ? `${least} or more`
    : `${least} to ${most}`;
  return `it must have ${range} ${what}: current value is ${found}`;
}

function nodeProblem(node: Node): string | undefined {
  const arity = ARITY.get(operatorName(node));
  if (arity === undefined) return undefined;
  return problemOf("inputs", count(node.inputs), arity.inputs) ??
    problemOf("outputs", count(node.outputs), arity.outputs);
}

/**
 * Describes the first node of a graph or its subgraphs with more or fewer inputs or outputs than its
 * operator has.
 */
export function arityProblem(graph: Graph): string | undefined {
  return firstNodeProblem(graph, () => undefined, nodeProblem);
}
