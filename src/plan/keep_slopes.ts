/**
 * Keeps slopes of activation functions. Where only products in 8 bits read a function's result, the backward
 * pass needs nothing but its slope: the forward pass leaves that in 8 bits instead of the values it would be
 * computed from. A gated unit needs two factors, which are kept like other activations.
 */
import { stringAttribute } from "../graph/attributes.ts";
import { readersOf, typeIn } from "../graph/facts.ts";
import { GRAFT, type Graph, MICROSOFT, type Node, type ValueInfo } from "../graph/types.ts";
import { geluAndSlopeNode } from "../ops/internal/gelu_and_slope.ts";
import { swigluAndFactorsNode } from "../ops/internal/swiglu.ts";
import { kindOf } from "../ops/registry.ts";

/** Whether a node is one of graft's own operators that take a cotangent back without any of their inputs. */
function isOfFrozen(node: Node): boolean {
  const kind = kindOf(node);
  return node.domain === GRAFT && (kind === "rounded product" || kind === "rotation");
}

/** @param quantized graph whose products with frozen weights are `QuantizedLinear` */
export function keepSlopes(quantized: Graph): Graph {
  const readers = readersOf(quantized);
  const isLinear = (node: Node | undefined): boolean =>
    node !== undefined && (isOfFrozen(node) ||
      node.opType === "Reshape" && (readers.get(node.outputs[0]) ?? []).every(isLinear));
  const slopes: ValueInfo[] = [];
  const nodes = quantized.nodes.map((node) => {
    const isGate = node.opType === "SwiGLU" && node.domain === GRAFT;
    if (!isGate && !isExactGelu(node)) return node;
    const [y] = node.outputs;
    const { dtype, dims } = typeIn(quantized, y)!;
    if (dtype !== "float32" || !(readers.get(y) ?? []).every(isLinear)) return node;
    if (isGate) {
      const factors = ["silu", "slope"].map((name): ValueInfo => ({
        name: `${y}.${name}`,
        type: { dtype, shape: dims },
      }));
      slopes.push(...factors);
      const [gate, up] = node.inputs;
      const outputs = [y, ...factors.map(({ name }) => name)];
      return { ...node, ...swigluAndFactorsNode(gate, up), outputs };
    }
    const slope = { name: `${y}.slope`, type: { dtype: "uint8", shape: dims } } as const;
    slopes.push(slope);
    return { ...node, ...geluAndSlopeNode(node.inputs[0]), outputs: [y, slope.name] };
  });
  if (slopes.length === 0) return quantized;
  const valueInfo = new Map(quantized.valueInfo);
  for (const slope of slopes) valueInfo.set(slope.name, slope);
  return { ...quantized, nodes, valueInfo };
}

function isExactGelu(node: Node): boolean {
  if (node.opType !== "Gelu") return false;
  return node.domain === MICROSOFT || stringAttribute(node, "approximate", "none") === "none";
}
