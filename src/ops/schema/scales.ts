/** Checks the scales of quantised tensors: a NaN scale turns all later values into NaN. */
import { isFloating } from "../../graph/dtype.ts";
import { firstNonFinite } from "../../graph/finite.ts";
import { type Tensor, toNumbers } from "../../graph/tensor.ts";
import { type Graph, type Node, operatorName } from "../../graph/types.ts";
import { kindOf } from "../registry.ts";
import { scaleInputs } from "./quantization.ts";

/**
 * Whether each scale belongs to a few neighbouring weights: all of these may be 0, and then the scale is
 * 0.
 */
function isBlockWise(node: Node): boolean {
  const kind = kindOf(node);
  if (kind === "packed lookup" || kind === "packed product") return true;
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
    for (const input of scaleInputs(node)) {
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
