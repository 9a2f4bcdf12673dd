/**
 * Makes runs fail with an error if an input whose rank is only known at run time has fewer dimensions
 * than its operator accepts: ONNX Runtime's kernels would end the process.
 */
import { ints } from "../../graph/attributes.ts";
import { freeName, valueNames } from "../../graph/facts.ts";
import { partialShapes } from "./partial_shapes.ts";
import type { PartialShape } from "./shape_rules.ts";
import { rankedInputs } from "./ranks.ts";
import { int64, type Tensor } from "../../graph/tensor.ts";
import { type Graph, type Model, type Node, operatorName } from "../../graph/types.ts";

/** First operator set in which the axes of Unsqueeze and Squeeze are an input. */
const AXES_ARE_INPUT_SINCE = 13;

/**
 * Inputs, by position, for which kernels of ONNX Runtime 1.18 or 1.30 were seen to end the process when
 * dimensions are missing; other kernels check them.
 */
const UNCHECKED = new Map<string, readonly number[]>([
  ["com.microsoft.EmbedLayerNormalization", [0, 8]],
  ["com.microsoft.GroupQueryAttention", [7, 8, 9]],
  ["com.microsoft.MatMulNBits", [4]],
  ["com.microsoft.MultiHeadAttention", [0]],
  ["com.microsoft.SkipLayerNormalization", [0]],
  ["com.microsoft.SkipSimplifiedLayerNormalization", [0]],
  ["AffineGrid", [1]],
  ["Attention", [4, 5]],
  ["ConvInteger", [0, 1]],
  ["DFT", [0]],
  ["GatherND", [1]],
  ["MaxRoiPool", [0, 1]],
  ["Multinomial", [0]],
  ["QLinearConv", [0, 3]],
  ["ReverseSequence", [0]],
  ["RoiAlign", [0, 1, 2]],
  ["STFT", [0, 2]],
  ...["LSTM", "GRU", "RNN"].map((name) => [name, [0, 1, 2]] as const),
]);

const isUnchecked = (node: Node, position: number) => {
  const operator = operatorName(node);
  return operator === "Einsum" || UNCHECKED.get(operator)?.includes(position) === true;
};

/**
 * Adds a dimension after the last required one and removes it again: this changes no byte, and fails for
 * a value of fewer dimensions. Subgraphs are not changed; a model without such inputs is returned
 * itself.
 */
export function guardRanks(model: Model): Model {
  const { graph, opsets } = model;
  if (!graph.nodes.some((node) => rankedInputs(node).length > 0)) return model;
  const axesAreInput = (opsets[""] ?? 1) >= AXES_ARE_INPUT_SINCE;
  const found = guarded(graph, partialShapes(graph), axesAreInput);
  return found === graph ? model : { ...model, graph: found };
}

function guarded(
  graph: Graph,
  shapes: ReadonlyMap<string, PartialShape>,
  axesAreInput: boolean,
): Graph {
  const taken = valueNames(graph);
  const initializers = new Map<string, Tensor>(graph.initializers);
  const fresh = (hint: string) => {
    const name = freeName(taken, hint);
    taken.add(name);
    return name;
  };
  const behind = (value: string, rank: number, input: string): readonly Node[] => {
    const label = `${input} must have ${rank} dimensions`;
    const [longer, checked] = [fresh(`${value}/longer`), fresh(`${value}/checked`)];
    let axes = "";
    if (axesAreInput) initializers.set(axes = fresh(`${value}/axes`), int64([1], [rank]));
    const step = (opType: string, from: string, to: string): Node => ({
      name: fresh(label),
      opType,
      domain: "",
      inputs: axesAreInput ? [from, axes] : [from],
      outputs: [to],
      attributes: axesAreInput ? {} : { axes: ints([rank]) },
    });
    return [step("Unsqueeze", value, longer), step("Squeeze", longer, checked)];
  };
  const nodes = graph.nodes.flatMap((node) => {
    const before: Node[] = [];
    const inputs = [...node.inputs];
    for (const { position, name, value, ranks } of rankedInputs(node)) {
      const rank = Math.min(...ranks);
      if (shapes.has(value) || rank === 0 || !isUnchecked(node, position)) continue;
      before.push(...behind(value, rank, `${name} of ${node.name || node.outputs[0]}`));
      inputs[position] = before.at(-1)!.outputs[0];
    }
    return before.length === 0 ? [node] : [...before, { ...node, inputs }];
  });
  return nodes.length === graph.nodes.length ? graph : { ...graph, nodes, initializers };
}
