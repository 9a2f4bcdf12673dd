/**
 * How nodes of the lowered graph are computed, where the obvious way is slow. Derivatives see the
 * nodes as they are.
 */
import { int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { float32 } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { isSilu } from "./silu.ts";

/**
 * Adds what computes a node.
 *
 * @param flushed whether numbers too small to be normal are zero where it runs
 */
export function addComputing(b: GraphBuilder, node: Node, flushed: boolean): void {
  if (!flushed && isLastAxisSoftmax(b, node)) addFlooredSoftmax(b, node);
  else if (isSilu(node)) addSilu(b, node);
  else b.add(node);
}

/** Times 1e-10, e^-DEPTH is still a normal float32. */
const DEPTH = 60;

/**
 * Keeps Softmax away from numbers too small to be normal.
 *
 * A masked score of -1e9 makes the kernel compute e⁻⁸⁸, a denormal, on which it and every product
 * after it run many times slower. Here no score lies more than {@linkcode DEPTH} below its row's
 * largest: Softmax(max(x, max(x) - 60)) differs from Softmax(x) by less than 1e-26 a place, far
 * below what float32 holds beside 1, whatever the size of the scores.
 */
function addFlooredSoftmax(b: GraphBuilder, node: Node): void {
  const [scores] = node.inputs;
  const largest = b.op("ReduceMax", [scores, b.int64s([-1])], { keepdims: int(1) });
  // Of equal rank: beside a number without dimensions the kernel takes one row's value at a time.
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

/** x·sigmoid(x) with the sigmoid apart, which its derivative reads too: ONNX Runtime shares equal nodes. */
function addSilu(b: GraphBuilder, node: Node): void {
  const [x] = node.inputs;
  const product = [x, b.op("Sigmoid", [x])];
  b.add({ ...node, opType: "Mul", domain: "", inputs: product, attributes: {}, rest: undefined });
}
