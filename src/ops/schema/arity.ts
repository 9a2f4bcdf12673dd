/**
 * Checks the numbers of inputs and outputs of operators, so that other code can rely on required inputs
 * and on the first output.
 *
 * Sources: the schemas of ONNX 1.23, over all operator sets; docs/ContribOperators.md of ONNX Runtime.
 */
import { firstNodeProblem } from "../../graph/node_problem.ts";
import { type Graph, MICROSOFT, type Node, operatorName } from "../../graph/types.ts";
import { allRules } from "../registry.ts";
import type { Count } from "../types.ts";

/** Numbers of inputs and of outputs, and the operators that have them. */
type Row = readonly [inputs: Count, outputs: Count, ...operators: string[]];

/** Operators without a rule; the others state their numbers in their rules. */
const STANDARD: readonly Row[] = [
  ["0", "1", "RandomNormal RandomUniform SequenceEmpty"],
  ["0..1", "1", "Optional OptionalHasElement"],
  // Trip count and condition may both be left out.
  [
    "1",
    "1",
    "Acos Acosh Asin Asinh Atanh Bernoulli BitCast BitwiseNot BlackmanWindow",
    "ConcatFromSequence Cosh DepthToSpace Det GlobalLpPool HammingWindow HannWindow",
    "Hardmax ImageDecoder LRN LpPool MeanVarianceNormalization Multinomial",
    "OptionalGetElement RandomNormalLike RandomUniformLike RegexFullMatch",
    "SequenceLength Shrink Sinh SpaceToDepth StringNormalizer TfIdfVectorizer",
  ],
  ["1", "1..4", "Unique"],
  ["1", "2", "StringSplit"],
  ["1..2", "1", "ReduceLogSum SequenceErase SplitToSequence"],
  ["1..3", "1", "DFT"],
  ["1..", "1", "SequenceConstruct"],
  ["1..", "1..", "SequenceMap"],
  [
    "2",
    "1",
    "AffineGrid BitwiseOr BitwiseXor CenterCropPad Compress CumProd GridSample",
    "MaxRoiPool ReverseSequence SequenceAt StringConcat SwiGLU",
  ],
  ["2..3", "1", "MaxUnpool NegativeLogLikelihoodLoss SequenceInsert TensorScatter"],
  ["2..3", "1..2", "SoftmaxCrossEntropyLoss"],
  ["2..4", "1", "ConvInteger STFT"],
  ["2..4", "2", "CausalConvWithState"],
  ["2..5", "1", "NonMaxSuppression"],
  ["3", "1", "Col2Im RoiAlign Scatter"],
  ["3..5", "1", "DeformConv"],
  ["3..6", "2", "LinearAttention"],
  ["5", "1", "MelWeightMatrix"],
  ["8", "1", "QLinearMatMul"],
  ["8..9", "1", "QLinearConv"],
];

/** ONNX Runtime's own. */
const CONTRIBUTED: readonly Row[] = [
  [
    "4..5",
    "1",
    "QLinearAveragePool QLinearGlobalAveragePool QLinearLeakyRelu QLinearSigmoid",
    "QLinearSoftmax",
  ],
  ["5..", "1", "QLinearConcat"],
  ["6..9", "1", "QGemm"],
  ["7..8", "1", "QLinearAdd QLinearMul"],
  ["9", "1", "QLinearWhere"],
];

type Range = readonly [least: number, most: number];

interface Arity {
  readonly inputs: Range;
  readonly outputs: Range;
}

function rangeOf(text: Count): Range {
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
  ...allRules().map((rule): [string, Arity] => [
    operatorName(rule),
    { inputs: rangeOf(rule.inputs), outputs: rangeOf(rule.outputs) },
  ]),
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
