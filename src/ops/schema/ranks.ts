/**
 * Checks the numbers of dimensions of operators with a fixed layout: ONNX Runtime's kernels index
 * dimensions that a hostile file leaves out, and end the process.
 *
 * Sources: the schemas of ONNX 1.23; docs/ContribOperators.md and the kernels of ONNX Runtime.
 */
import { stringAttribute } from "../../graph/attributes.ts";
import { firstNodeProblem } from "../../graph/node_problem.ts";
import { listProblem } from "./list_lengths.ts";
import { partialShapes } from "./partial_shapes.ts";
import type { PartialShape } from "./shape_rules.ts";
import { type Graph, type Node, operatorName } from "../../graph/types.ts";

/** An input: its name in the schema, and the numbers of dimensions that it may have. */
type Input = readonly [name: string, ...ranks: number[]];

/** Most dimensions that a fixed layout may have. */
const MOST_DIMENSIONS = 8;

const upwards = (name: string, least: number): Input => [
  name,
  ...Array.from({ length: Math.max(1, MOST_DIMENSIONS + 1 - least) }, (_, i) => least + i),
];

/** Batch and channels, and at least one dimension that a window moves along. */
const IMAGE = upwards("X", 3);
const WINDOW = upwards("W", 3);

/** Inputs by position; inputs without a fixed layout are left out. */
const INPUTS: ReadonlyMap<string, readonly (Input | undefined)[]> = new Map([
  ["com.microsoft.GroupQueryAttention", [
    ["query", 3],
    ["key", 3],
    ["value", 3],
    ["past_key", 4],
    ["past_value", 4],
    ["seqlens_k", 1, 2],
    ["total_sequence_length", 0, 1],
    ["cos_cache", 2],
    ["sin_cache", 2],
    ["position_ids", 2],
    ["attention_bias", 4],
    ["head_sink", 1],
  ]],
  ["com.microsoft.MultiHeadAttention", [
    ["query", 3, 5],
    ["key", 3, 4, 5],
    ["value", 3, 4],
    ["bias", 1],
    ["key_padding_mask", 1, 2, 3],
    ["attention_bias", 4],
    ["past_key", 4],
    ["past_value", 4],
    ["past_sequence_length", 0, 1],
    ["cache_indirection", 3],
  ]],
  ["com.microsoft.Attention", [
    ["input", 3],
    ["weights", 2],
    ["bias", 1],
    ["mask_index", 1, 2, 3, 4],
    ["past", 5],
    ["attention_bias", 4],
    ["past_sequence_length", 0, 1],
  ]],
  ["com.microsoft.QAttention", [
    ["input", 3],
    ["weight", 2],
    ["bias", 1],
    undefined,
    undefined,
    ["mask_index", 1, 2, 3, 4],
    undefined,
    undefined,
    ["past", 5],
  ]],
  ["com.microsoft.RotaryEmbedding", [
    ["input", 3, 4],
    ["position_ids", 1, 2],
    ["cos_cache", 2],
    ["sin_cache", 2],
  ]],
  ["com.microsoft.EmbedLayerNormalization", [
    ["input_ids", 2],
    ["segment_ids", 2],
    ["word_embedding", 2],
    ["position_embedding", 2],
    ["segment_embedding", 2],
    ["gamma", 1],
    ["beta", 1],
    ["mask", 2],
    ["position_ids", 2],
  ]],
  ["com.microsoft.SkipLayerNormalization", [
    ["input", 2, 3],
    ["skip", 2, 3],
    ["gamma", 1],
    ["beta", 1],
    ["bias", 1],
  ]],
  ["com.microsoft.SkipSimplifiedLayerNormalization", [
    ["input", 2, 3],
    ["skip", 2, 3],
    ["gamma", 1],
    ["bias", 1],
  ]],
  ["com.microsoft.MatMulNBits", [
    upwards("A", 1),
    undefined,
    undefined,
    undefined,
    ["g_idx", 1],
    ["bias", 1],
  ]],
  ["com.microsoft.QGemm", [["A", 2], undefined, undefined, ["B", 2]]],
  ["Attention", [
    ["Q", 3, 4],
    ["K", 3, 4],
    ["V", 3, 4],
    ["attn_mask", 2, 3, 4],
    ["past_key", 4],
    ["past_value", 4],
    ["nonpad_kv_seqlen", 1],
  ]],
  ["RotaryEmbedding", [
    ["X", 3, 4],
    ["cos_cache", 2, 3],
    ["sin_cache", 2, 3],
    ["position_ids", 2],
  ]],
  ["AffineGrid", [undefined, ["size", 1]]],
  ["ConvInteger", [IMAGE, WINDOW]],
  ["DFT", [upwards("input", 2)]],
  ["GatherND", [upwards("data", 1), upwards("indices", 1)]],
  ["MaxRoiPool", [["X", 4], ["rois", 2]]],
  ["Multinomial", [["input", 2]]],
  ["ReverseSequence", [upwards("input", 2), ["sequence_lens", 1]]],
  ["RoiAlign", [["X", 4], ["rois", 2], ["batch_indices", 1]]],
  ["STFT", [["signal", 2, 3], undefined, ["window", 1]]],
  ["QLinearConv", [IMAGE, undefined, undefined, WINDOW]],
  ...["LSTM", "GRU", "RNN"].map((name) => [name, [["X", 3], ["W", 3], ["R", 3]]]),
] as [string, readonly (Input | undefined)[]][]);

/**
 * The ranks that an Einsum's equation, `ij,...jk->ik`, gives for its inputs; three dots are any number
 * of dimensions.
 */
function einsumInputs(node: Node): readonly Input[] {
  const equation = stringAttribute(node, "equation", "");
  return equation.split("->")[0].split(",").map((term) => {
    const letters = term.replaceAll(/[\s.]/g, "").length;
    return term.includes(".") ? upwards("input", letters) : ["input", letters];
  });
}

/** The inputs of the table, and those that depend on the node itself. */
function inputsOf(node: Node): readonly (Input | undefined)[] {
  const operator = operatorName(node);
  if (operator === "Einsum") return einsumInputs(node);
  // Without the others, the first input contains keys and values too.
  const isPacked = operator === "com.microsoft.MultiHeadAttention" && !node.inputs[1];
  return isPacked ? [["query", 5]] : INPUTS.get(operator) ?? [];
}

/** An input of a node that must have one of some numbers of dimensions. */
export interface RankedInput {
  readonly position: number;
  /** The operator's name for it. */
  readonly name: string;
  readonly value: string;
  readonly ranks: readonly number[];
}

/** The inputs of a node whose numbers of dimensions its operator fixes, without absent ones. */
export function rankedInputs(node: Node): readonly RankedInput[] {
  const inputs = inputsOf(node);
  return inputs.flatMap((input, position) => {
    const value = node.inputs[position] ?? "";
    if (input === undefined || value === "") return [];
    const [name, ...ranks] = input;
    return [{ position, name, value, ranks }];
  });
}

function nodeProblem(
  node: Node,
  shapes: ReadonlyMap<string, PartialShape>,
): string | undefined {
  for (const { position, name, value, ranks } of rankedInputs(node)) {
    const rank = shapes.get(value)?.length;
    if (rank === undefined || ranks.includes(rank)) continue;
    const wanted = ranks.length === 1 ? `${ranks[0]}` : `${ranks[0]} to ${ranks.at(-1)}`;
    return `input ${position} (${name}) must have ${wanted} dimensions: ` +
      `"${value}" has ${rank}`;
  }
  return listProblem(node, shapes);
}

/**
 * Describes the first node of a graph or its subgraphs with an input of another number of dimensions
 * than its operator accepts, or a list for more dimensions than a value can have. Ranks and lengths that
 * are only known at run time are skipped; see `guardRanks()` for ranks.
 *
 * @throws {BadInputError} for an attribute of another kind than the operator reads
 */
export function rankProblem(graph: Graph): string | undefined {
  return firstNodeProblem<ReadonlyMap<string, PartialShape>>(graph, partialShapes, nodeProblem);
}
