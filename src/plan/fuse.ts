/**
 * Fuses what exporters take apart: LayerNormalization, root-mean-square normalisation, GELU and SiLU. One
 * kernel replaces five to nine passes over the activation, and its derivative reads one or two values instead
 * of all the intermediate ones.
 *
 * Works on lowered graphs, where shapes and constants are known. Inner values of a pattern that other nodes
 * read stay; the rest is dead and pruned.
 */
import { float, int } from "../graph/attributes.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { prune } from "../graph/passes/prune.ts";
import { type Graph, MICROSOFT, type Node, type ValueInfo } from "../graph/types.ts";
import { GraphView } from "./graph_view.ts";

/** A lowered graph with its fused forms. */
export function fuse(lowered: Graph): Graph {
  const view = new GraphView(lowered);
  const valueInfo = new Map(lowered.valueInfo);
  const nodes = lowered.nodes.map((node) => {
    const fused = layerNormalization(view, node) ?? rmsNormalization(view, node) ??
      gelu(view, node) ?? silu(view, node);
    if (fused === undefined) return node;
    for (const info of fused.values) valueInfo.set(info.name, info);
    return fused.node;
  });
  return prune({ ...lowered, nodes, valueInfo });
}

interface Fused {
  readonly node: Node;
  /** Outputs that are new to the graph. */
  readonly values: readonly ValueInfo[];
}

/** (x − mean) / √(mean((x − mean)²) + ε) · scale + bias */
function layerNormalization(view: GraphView, node: Node): Fused | undefined {
  if (node.opType !== "Add") return undefined;
  const output = node.outputs[0];
  for (const [scaled, bias] of view.bothWays(output, "Add")) {
    if (!view.isVector(bias, output)) continue;
    for (const [normalised, scale] of view.bothWays(scaled, "Mul")) {
      if (!view.isVector(scale, output)) continue;
      const quotient = view.inputsOf(normalised, "Div");
      const deviation = quotient && view.rootMeanSquare(quotient[1]);
      if (quotient === undefined || deviation?.x !== quotient[0]) continue;
      const centred = view.inputsOf(quotient[0], "Sub");
      if (centred === undefined || view.lastAxisMean(centred[1]) !== centred[0]) continue;
      return normalization(
        "LayerNormalization",
        output,
        [centred[0], scale, bias],
        deviation,
        view,
      );
    }
  }
  return undefined;
}

/** x / √(mean(x²) + ε) · scale */
function rmsNormalization(view: GraphView, node: Node): Fused | undefined {
  if (node.opType !== "Mul") return undefined;
  const output = node.outputs[0];
  for (const [normalised, scale] of view.bothWays(output, "Mul")) {
    if (!view.isVector(scale, output)) continue;
    const quotient = view.inputsOf(normalised, "Div");
    const pairs = quotient === undefined
      ? view.bothWays(normalised, "Mul").map(([x, inverse]) => [
        x,
        view.inputsOf(inverse, "Reciprocal")?.[0],
      ])
      : [quotient];
    for (const [x, root] of pairs) {
      const found = root === undefined ? undefined : view.rootMeanSquare(root);
      if (found === undefined || found.x !== x) continue;
      return normalization("SimplifiedLayerNormalization", output, [x, scale], found, view);
    }
  }
  return undefined;
}

/** The node as lowering writes it, with the statistics that its derivative reads. */
function normalization(
  opType: "LayerNormalization" | "SimplifiedLayerNormalization",
  output: string,
  inputs: readonly string[],
  { epsilon }: { readonly epsilon: number },
  view: GraphView,
): Fused {
  const shape = asDims([...extentsOf(view.dims(output)).slice(0, -1), 1]);
  const statistics = opType === "LayerNormalization"
    ? [`${output}.mean`, `${output}.inv_std`]
    : [`${output}.inv_std`];
  return {
    node: {
      name: output,
      opType,
      domain: "",
      inputs,
      outputs: [output, ...statistics],
      attributes: { axis: int(-1), epsilon: float(epsilon), stash_type: int(1) },
    },
    values: statistics.map((name) => ({ name, type: { dtype: "float32", shape } })),
  };
}

/** x · (1 + erf(x/√2)) · ½, in any order of the factors. */
function gelu(view: GraphView, node: Node): Fused | undefined {
  if (node.opType !== "Mul") return undefined;
  const [output] = node.outputs;
  for (const [x, one, half] of view.threeFactors(output)) {
    if (view.scalar(half) !== 0.5 || errorFunctionOf(view, one) !== x) continue;
    return activation("Gelu", x, output);
  }
  return undefined;
}

/** x · sigmoid(x), which is QuickGelu with α = 1; its derivative computes the sigmoid only once. */
function silu(view: GraphView, node: Node): Fused | undefined {
  if (node.opType !== "Mul") return undefined;
  const [output] = node.outputs;
  for (const [x, gate] of view.bothWays(output, "Mul")) {
    if (view.inputsOf(gate, "Sigmoid")?.[0] !== x) continue;
    return activation("QuickGelu", x, output, { alpha: float(1) });
  }
  return undefined;
}

function activation(
  opType: string,
  x: string,
  output: string,
  attributes: Node["attributes"] = {},
): Fused {
  return {
    node: { name: output, opType, domain: MICROSOFT, inputs: [x], outputs: [output], attributes },
    values: [],
  };
}

/** x, where a value is 1 + erf(x/√2). */
function errorFunctionOf(view: GraphView, value: string): string | undefined {
  for (const [erf, one] of view.bothWays(value, "Add")) {
    if (view.scalar(one) !== 1) continue;
    const scaled = view.inputsOf(erf, "Erf")?.[0];
    if (scaled === undefined) continue;
    const quotient = view.inputsOf(scaled, "Div");
    if (quotient !== undefined && isNear(view.scalar(quotient[1]), Math.SQRT2)) return quotient[0];
    for (const [x, factor] of view.bothWays(scaled, "Mul")) {
      if (isNear(view.scalar(factor), Math.SQRT1_2)) return x;
    }
  }
  return undefined;
}

/** Whether two numbers are equal up to the precision of float32. */
function isNear(found: number | undefined, expected: number): boolean {
  return found !== undefined && Math.abs(found - expected) <= 1e-6 * expected;
}
