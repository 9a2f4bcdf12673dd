/**
 * Puts back together what exporters take apart: LayerNormalization, root-mean-square normalisation,
 * GELU and SiLU. One kernel runs where five to nine passes over the activation would, and its derivative
 * reads one or two values where theirs read all of them.
 *
 * Works on lowered graphs, where shapes are concrete and constants known. What other nodes read of
 * a pattern's inside stays; the rest is dead and pruned.
 */
import { float, int } from "../graph/attributes.ts";
import { dimsIn } from "../graph/facts.ts";
import { prune } from "../graph/passes/prune.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import { type Graph, MICROSOFT, type Node, type ValueInfo } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";

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
  return verify(prune({ ...lowered, nodes, valueInfo }), "fuse()");
}

interface Fused {
  readonly node: Node;
  /** Outputs that the graph did not have before. */
  readonly values: readonly ValueInfo[];
}

/** Looks at a graph by its values. */
class GraphView {
  readonly #producers: ReadonlyMap<string, Node>;

  constructor(readonly graph: Graph) {
    this.#producers = new Map(
      graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)),
    );
  }

  /** The inputs of the node that makes a value, if it is of this operator. */
  inputsOf(value: string, opType: string): readonly string[] | undefined {
    const node = this.#producers.get(value);
    return node?.opType === opType && node.domain === "" ? node.inputs : undefined;
  }

  /** Value of a constant with one element. */
  scalar(value: string): number | undefined {
    const constant = this.graph.initializers.get(value);
    if (constant === undefined || elementCount(constant.dims) !== 1) return undefined;
    return Number(toNumbers(constant)[0]);
  }

  dims(value: string): readonly number[] {
    return dimsIn(this.graph, value);
  }

  /** Whether a value is a float32 vector along the last axis of `like`, whatever its contents. */
  isVector(value: string, like: string): boolean {
    const constant = this.graph.initializers.get(value);
    return constant?.dtype === "float32" && constant.dims.length === 1 &&
      constant.dims[0] === this.dims(like).at(-1);
  }

  /** The operands of a node of two that commute, in both orders. */
  bothWays(value: string, opType: string): readonly (readonly [string, string])[] {
    const inputs = this.inputsOf(value, opType);
    return inputs === undefined ? [] : [[inputs[0], inputs[1]], [inputs[1], inputs[0]]];
  }

  /** x, where a value is its mean over the last axis, kept as 1. */
  lastAxisMean(value: string): string | undefined {
    const inputs = this.inputsOf(value, "ReduceMean");
    if (inputs === undefined) return undefined;
    const axis = this.scalar(inputs[1] ?? "");
    const dims = this.dims(inputs[0]);
    const kept = this.dims(value).length === dims.length && this.dims(value).at(-1) === 1;
    return kept && (axis === -1 || axis === dims.length - 1) ? inputs[0] : undefined;
  }

  /** x, where a value is x². */
  square(value: string): string | undefined {
    const power = this.inputsOf(value, "Pow");
    if (power !== undefined) return this.scalar(power[1]) === 2 ? power[0] : undefined;
    const product = this.inputsOf(value, "Mul");
    return product !== undefined && product[0] === product[1] ? product[0] : undefined;
  }

  /** x and ε, where a value is √(mean(x²) + ε) over the last axis. */
  rootMeanSquare(value: string): { readonly x: string; readonly epsilon: number } | undefined {
    const root = this.inputsOf(value, "Sqrt");
    if (root === undefined) return undefined;
    for (const [mean, constant] of this.bothWays(root[0], "Add")) {
      const epsilon = this.scalar(constant);
      const squared = this.lastAxisMean(mean);
      const x = squared === undefined ? undefined : this.square(squared);
      if (epsilon !== undefined && x !== undefined) return { x, epsilon };
    }
    return undefined;
  }
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

/** The node as lowering writes it, with the statistics its derivative reads. */
function normalization(
  opType: "LayerNormalization" | "SimplifiedLayerNormalization",
  output: string,
  inputs: readonly string[],
  { epsilon }: { readonly epsilon: number },
  view: GraphView,
): Fused {
  const shape = [...view.dims(output).slice(0, -1), 1];
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
  const output = node.outputs[0];
  for (const [product, third] of view.bothWays(output, "Mul")) {
    for (const [first, second] of view.bothWays(product, "Mul")) {
      for (
        const [x, one, half] of [[first, second, third], [third, first, second], [
          first,
          third,
          second,
        ]]
      ) {
        if (view.scalar(half) !== 0.5 || errorFunctionOf(view, one) !== x) continue;
        return {
          node: {
            name: output,
            opType: "Gelu",
            domain: MICROSOFT,
            inputs: [x],
            outputs: [output],
            attributes: {},
          },
          values: [],
        };
      }
    }
  }
  return undefined;
}

/** x · sigmoid(x), which is QuickGelu with α = 1: its derivative computes the sigmoid once. */
function silu(view: GraphView, node: Node): Fused | undefined {
  if (node.opType !== "Mul") return undefined;
  const output = node.outputs[0];
  for (const [x, gate] of view.bothWays(output, "Mul")) {
    if (view.inputsOf(gate, "Sigmoid")?.[0] !== x) continue;
    return {
      node: {
        name: output,
        opType: "QuickGelu",
        domain: MICROSOFT,
        inputs: [x],
        outputs: [output],
        attributes: { alpha: float(1) },
      },
      values: [],
    };
  }
  return undefined;
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

/** Equal as far as float32 can tell. */
function isNear(found: number | undefined, expected: number): boolean {
  return found !== undefined && Math.abs(found - expected) <= 1e-6 * expected;
}
