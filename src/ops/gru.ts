/** GRU: gated recurrent units. */
import { floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { scalarLike } from "./broadcast.ts";
import { parts } from "./concat.ts";
import { affine, clipped, type Direction, recurrent, type Step } from "./recurrent.ts";
import { sliceAxis } from "./slice.ts";

const isLinearFirst = (node: Node) => intAttribute(node, "linear_before_reset", 0) !== 0;

/** With `linear_before_reset` the last gate's recurrent bias is reset, too: it stays in the step. */
function inputBias(b: GraphBuilder, node: Node, w: string, r: string): string {
  if (!isLinearFirst(node)) return b.op("Add", [w, r]);
  const [count] = b.dims(w);
  const gates = count / 3 * 2;
  const first = b.op("Add", [sliceAxis(b, w, 0, 0, gates), sliceAxis(b, r, 0, 0, gates)]);
  return b.op("Concat", [first, sliceAxis(b, w, 0, gates, count)], { axis: int(0) });
}

/**
 * z = f(Wx + Rh), r likewise; n = g(Wx + R(r·h)), or g(Wx + r·(Rh + b)) with `linear_before_reset`;
 * h' = (1 - z)·n + z·h. `clip` holds what activations read.
 */
function stepOf({ b, node, hidden, recurrence, bias, activations }: Direction): Step {
  const [f, g] = activations;
  const threshold = floatAttribute(node, "clip", undefined);
  const gates = sliceAxis(b, recurrence, 0, 0, 2 * hidden);
  const block = sliceAxis(b, recurrence, 0, 2 * hidden, 3 * hidden);
  const blockBias = bias && sliceAxis(b, bias, 0, 2 * hidden, 3 * hidden);
  const sizes = b.int64s([2 * hidden, hidden]);
  const gate = (value: string, activation: (x: string) => string) =>
    activation(clipped(b, value, threshold));
  return (projected, [state]) => {
    const [forGates, forBlock] = b.ops("Split", [projected, sizes], 2, { axis: int(1) });
    const [update, reset] = parts(b, affine(b, state, gates, forGates), 1, 2)
      .map((value) => gate(value, f));
    const inner = isLinearFirst(node)
      ? b.op("Add", [forBlock, b.op("Mul", [reset, affine(b, state, block, blockBias)])])
      : affine(b, b.op("Mul", [reset, state]), block, forBlock);
    const taken = b.op("Sub", [scalarLike(b, update, 1), update]);
    return [b.op("Add", [
      b.op("Mul", [taken, gate(inner, g)]),
      b.op("Mul", [update, state]),
    ])];
  };
}

export const GRU = recurrent({
  opType: "GRU",
  gates: 3,
  activations: ["Sigmoid", "Tanh"],
  states: [5],
  inputBias,
  stepOf,
});
