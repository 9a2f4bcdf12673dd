/**
 * How nodes of the lowered graph are computed where the obvious way is slow. Derivatives are taken of the
 * original nodes.
 */
import { int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { float32 } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { isSilu } from "./silu.ts";

/**
 * Adds the nodes that compute a node.
 *
 * @param flushed whether denormal numbers are flushed to zero where it runs
 */
export function addComputing(b: GraphBuilder, node: Node, flushed: boolean): void {
  if (!flushed && isLastAxisSoftmax(b, node)) addFlooredSoftmax(b, node);
  else if (isSilu(node)) addSilu(b, node);
  else b.add(node);
}

/** Times 1e-10, e^-DEPTH is still a normal float32. */
const DEPTH = 60;

/**
 * Keeps Softmax away from denormal numbers.
 *
 * A masked score of -1e9 makes the kernel compute e⁻⁸⁸, a denormal number, on which it and every later
 * product run many times slower. Here no score is more than {@linkcode DEPTH} below the largest of its row:
 * Softmax(max(x, max(x) - 60)) differs from Softmax(x) by less than 1e-26 per element, far below what float32
 * resolves next to 1, however large the scores are.
 */
function addFlooredSoftmax(b: GraphBuilder, node: Node): void {
  const [scores] = node.inputs;
  const largest = b.op("ReduceMax", [scores, b.int64s([-1])], { keepdims: int(1) });
  // Of equal rank: with a number without dimensions, the kernel takes one row's value at a time.
  const depth = float32(b.shape(largest).map(() => 1), [DEPTH]);
  const floor = b.op("Sub", [largest, b.constant(depth)]);
  b.add({ ...node, inputs: [b.op("Max", [scores, floor])], rest: undefined });
}

function isLastAxisSoftmax(b: GraphBuilder, node: Node): boolean {
  if (node.opType !== "Softmax" || node.domain !== "") return false;
  const { dtype, dims } = b.known(node.inputs[0]);
  const axis = intAttribute(node, "axis", -1);
  return dtype === "float32" && (axis === -1 || axis === dims.length - 1);
}

/**
 * Computes x·sigmoid(x) with a separate sigmoid, which its derivative reads too: ONNX Runtime shares equal
 * nodes.
 */
function addSilu(b: GraphBuilder, node: Node): void {
  const [x] = node.inputs;
  const product = [x, b.op("Sigmoid", [x])];
  b.add({ ...node, opType: "Mul", domain: "", inputs: product, attributes: {}, rest: undefined });
}
