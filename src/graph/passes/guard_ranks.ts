/**
 * Has runs fail, with an error, where an input has fewer dimensions than its operator takes and only
 * the run can tell: ONNX Runtime's kernels would end the process.
 */
import { ints } from "../attributes.ts";
import { freeName, valueNames } from "../facts.ts";
import { partialShapes } from "../partial_shapes.ts";
import type { PartialShape } from "../shape_rules.ts";
import { rankedInputs } from "../ranks.ts";
import { int64, type Tensor } from "../tensor.ts";
import type { Graph, Model, Node } from "../types.ts";

/** Since this operator set Unsqueeze and Squeeze have their axes as an input. */
const AXES_ARE_INPUT_SINCE = 13;

/**
 * Puts a dimension behind the last that the input must have, and takes it away again: both change no
 * byte, and there is no such place in a value of fewer dimensions. Subgraphs stay as they are.
 */
export function guardRanks(model: Model): Model {
  const { graph, opsets } = model;
  if (!graph.nodes.some((node) => rankedInputs(node).length > 0)) return model;
  const axesAreInput = (opsets[""] ?? 1) >= AXES_ARE_INPUT_SINCE;
  return { ...model, graph: guarded(graph, partialShapes(graph), axesAreInput) };
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
      if (shapes.has(value) || rank === 0) continue;
      before.push(...behind(value, rank, `${name} of ${node.name || node.outputs[0]}`));
      inputs[position] = before.at(-1)!.outputs[0];
    }
    return before.length === 0 ? [node] : [...before, { ...node, inputs }];
  });
  return { ...graph, nodes, initializers };
}
