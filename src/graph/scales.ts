/** Checks the scales of quantised tensors: a NaN scale turns all later values into NaN. */
import { isFloating } from "./dtype.ts";
import { firstNonFinite } from "./finite.ts";
import { type Tensor, toNumbers } from "./tensor.ts";
import { type Graph, type Node, operatorName } from "./types.ts";

/** Positions of the scales among the inputs of operators that have any. */
const SCALE_INPUTS: ReadonlyMap<string, readonly number[]> = new Map(Object.entries({
  "QuantizeLinear": [1],
  "DequantizeLinear": [1],
  "QLinearMatMul": [1, 4, 6],
  "QLinearConv": [1, 4, 6],
  "com.microsoft.QuantizeLinear": [1],
  "com.microsoft.DequantizeLinear": [1],
  "com.microsoft.MatMulIntegerToFloat": [2, 3],
  "com.microsoft.DynamicQuantizeMatMul": [2],
  "com.microsoft.MatMulBnb4": [2],
  "com.microsoft.MatMulNBits": [2],
  "com.microsoft.GatherBlockQuantized": [2],
}));

const BLOCK_WISE: ReadonlySet<string> = new Set([
  "GatherBlockQuantized",
  "MatMulBnb4",
  "MatMulNBits",
]);

/**
 * Whether each scale belongs to a few neighbouring weights: all of these may be 0, and then the scale is
 * 0.
 */
function isBlockWise(node: Node): boolean {
  if (BLOCK_WISE.has(node.opType)) return true;
  const size = node.attributes.block_size;
  return size?.kind === "int" && size.value > 0;
}

function problemOf(scale: Tensor, mayBeZero: boolean): string | undefined {
  if (!isFloating(scale.dtype)) return `its type must be floating: current value is ${scale.dtype}`;
  const at = firstNonFinite(scale);
  if (at >= 0) return `element ${at} is NaN or infinite`;
  if (mayBeZero) return undefined;
  const zero = Array.prototype.indexOf.call(toNumbers(scale), 0);
  return zero >= 0 ? `element ${zero} is 0` : undefined;
}

/**
 * Describes the first invalid scale in a graph or its subgraphs: NaN, infinite or, except for a block of
 * weights, 0. Checks scales that are initializers.
 */
export function scaleProblem(graph: Graph): string | undefined {
  for (const [i, node] of graph.nodes.entries()) {
    for (const input of SCALE_INPUTS.get(operatorName(node)) ?? []) {
      const scale = graph.initializers.get(node.inputs[input]);
      const problem = scale && problemOf(scale, isBlockWise(node));
      if (problem !== undefined) {
        const name = node.name || node.outputs.join();
        return `scale "${node.inputs[input]}" of node ${i} (${
          operatorName(node)
        } "${name}"): ${problem}`;
      }
    }
    for (const attribute of Object.values(node.attributes)) {
      const problem = attribute.kind === "graph" ? scaleProblem(attribute.value) : undefined;
      if (problem !== undefined) return problem;
    }
  }
  return undefined;
}
