/**
 * Computes the second result of `SimplifiedLayerNormalization`, 1 / √(mean(x²) + ε), by separate nodes:
 * WebGPU's kernel does not write it (ONNX Runtime 1.30), and gradients read it.
 */
import { floatAttribute, intAttribute, ints } from "../attributes.ts";
import { node as nodeOf } from "../node.ts";
import { float32, int64, type Tensor } from "../tensor.ts";
import type { Model, Node } from "../types.ts";
import { verify } from "../verify.ts";

/** First operator set in which ReduceMean's axes are an input. */
const AXES_AS_INPUT = 18;
/** The operator's own default. */
const EPSILON = 1e-5;

/** The rewritten model; one without such results is returned itself. */
export function withOwnDeviation(model: Model): Model {
  const { graph } = model;
  const initializers = new Map(graph.initializers);
  const takesAxes = (model.opsets[""] ?? 0) >= AXES_AS_INPUT;
  const nodes = graph.nodes.flatMap((node) => rewritten(node, takesAxes, initializers));
  if (nodes.length === graph.nodes.length) return model;
  return { ...model, graph: verify({ ...graph, nodes, initializers }, "withOwnDeviation()") };
}

/** @param initializers gets the constants that the nodes read */
function rewritten(
  node: Node,
  takesAxes: boolean,
  initializers: Map<string, Tensor>,
): readonly Node[] {
  const [y, inverse = ""] = node.outputs;
  const isSuch = node.opType === "SimplifiedLayerNormalization" && inverse !== "" &&
    intAttribute(node, "axis", -1) === -1;
  if (!isSuch) return [node];
  const [x] = node.inputs;
  const named = (part: string) => `${inverse}.${part}`;
  const constant = (part: string, value: Tensor) => {
    initializers.set(named(part), value);
    return named(part);
  };
  const epsilon = constant("epsilon", float32([], [floatAttribute(node, "epsilon", EPSILON)]));
  const [squares, mean, shifted, deviation] = ["squares", "mean", "shifted", "deviation"]
    .map(named);
  return [
    { ...node, outputs: [y] },
    nodeOf("Mul", [x, x], squares),
    takesAxes
      ? nodeOf("ReduceMean", [squares, constant("axes", int64([1], [-1]))], mean)
      : nodeOf("ReduceMean", [squares], mean, { axes: ints([-1]) }),
    nodeOf("Add", [mean, epsilon], shifted),
    nodeOf("Sqrt", [shifted], deviation),
    nodeOf("Reciprocal", [deviation], inverse),
  ];
}
