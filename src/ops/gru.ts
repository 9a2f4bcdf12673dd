/** GRU: gated recurrent units. */
import { floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { parts } from "./concat.ts";
import { recurrent } from "./recurrent.ts";
import {
  affine,
  type Cotangents,
  joined,
  PlainNode,
  rest,
  sigmoidSlope,
  tanhSlope,
} from "./recurrent_cotangents.ts";
import { clipped, type Direction, type Step } from "./recurrent_unrolled.ts";
import { sliceAxis } from "./slice.ts";

/** Inputs that hold first states. */
const STATES = [5];

const isLinearFirst = (node: Node) => intAttribute(node, "linear_before_reset", 0) !== 0;

/** With `linear_before_reset` the last gate's recurrent bias is reset too: it stays in the step. */
function inputBias(b: GraphBuilder, node: Node, w: string, r: string): string {
  if (!isLinearFirst(node)) return b.op("Add", [w, r]);
  const [count] = b.dims(w);
  const gates = count / 3 * 2;
  const first = b.op("Add", [sliceAxis(b, w, 0, 0, gates), sliceAxis(b, r, 0, 0, gates)]);
  return b.op("Concat", [first, sliceAxis(b, w, 0, gates, count)], { axis: int(0) });
}

/**
 * z = f(Wx + Rh), r likewise; n = g(Wx + R(r·h)), or g(Wx + r·(Rh + b)) with `linear_before_reset`;
 * h' = (1 - z)·n + z·h. `clip` limits what activations read.
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
    return [b.op("Add", [
      b.op("Mul", [rest(b, update), gate(inner, g)]),
      b.op("Mul", [update, state]),
    ])];
  };
}

/**
 * With the values z, r, n of the gates and q = Rh + b of the last: from the last step to the first,
 * δh = δy + z'·δh' + the contribution of δa' through R (primes: of the following step).
 *
 * With `linear_before_reset`, where n = tanh(Wx + b + r·q): δa = δh·[(h - n)·z(1 - z), k·q·r(1 - r), k]
 * with k = (1 - z)(1 - n²); the cotangent of q is δh·k·r. Without it, where n = tanh(Wx + R(r·h) + b):
 * m = R·(δh·k) is the cotangent of r·h, and that of r's gate m·h·r(1 - r).
 */
const cotangents: Cotangents = (b, node, arriving, wanted) => {
  const plain = new PlainNode(b, node, STATES);
  const { length, hidden, biases, x, w, r } = plain;
  const times = (...values: readonly string[]) => values.reduce((y, z) => b.op("Mul", [y, z]));
  const gatesOf = (value: string) => sliceAxis(b, value, 0, 0, 2 * hidden);
  const blockOf = (value: string) => sliceAxis(b, value, 0, 2 * hidden, 3 * hidden);
  const before = plain.outputsBefore;
  const isLinear = isLinearFirst(node);
  const projected = affine(b, x, w, biases && inputBias(b, node, ...biases));
  const sizes = b.int64s([2 * hidden, hidden]);
  const [forGates, forBlock] = b.ops("Split", [projected, sizes], 2, { axis: int(1) });
  const gates = b.op("Sigmoid", [affine(b, before, gatesOf(r), forGates)]);
  const [update, reset] = parts(b, gates, 1, 2);
  const held = times(reset, before);
  const inner = isLinear ? affine(b, before, blockOf(r), biases && blockOf(biases[1])) : undefined;
  const block = b.op("Tanh", [
    inner === undefined
      ? affine(b, held, blockOf(r), forBlock)
      : b.op("Add", [forBlock, times(reset, inner)]),
  ]);
  const ofUpdate = plain.within(
    times(b.op("Sub", [before, block]), sigmoidSlope(b, update)),
    0,
  );
  const ofBlock = plain.within(times(rest(b, update), tanhSlope(b, block)), 0);
  const resetSlope = sigmoidSlope(b, reset);
  // Beyond its end, a sequence's state stays as it is.
  const updates = plain.steps(plain.within(update, 1));
  const ofInputs = new Array<string>(length);
  const ofStates = new Array<string>(length);
  let ofState: string;
  if (inner !== undefined) {
    const first = [ofUpdate, times(ofBlock, inner, resetSlope)];
    const forInputs = plain.steps(joined(b, [...first, ofBlock], 1));
    const forStates = plain.steps(joined(b, [...first, times(ofBlock, reset)], 1));
    ofState = plain.goBack(arriving, (dh, t) => {
      const thrice = b.op("Concat", [dh, dh, dh], { axis: int(1) });
      ofInputs[t] = times(thrice, forInputs[t]);
      ofStates[t] = times(thrice, forStates[t]);
      return b.op("Gemm", [ofStates[t], r, times(dh, updates[t])]);
    });
  } else {
    const blocks = plain.steps(ofBlock);
    const forGates = plain.steps(joined(b, [ofUpdate, times(before, resetSlope)], 1));
    const resets = plain.steps(reset);
    ofState = plain.goBack(arriving, (dh, t) => {
      const dn = times(dh, blocks[t]);
      const m = b.op("Gemm", [dn, blockOf(r)]);
      const da = times(b.op("Concat", [dh, m], { axis: int(1) }), forGates[t]);
      ofInputs[t] = b.op("Concat", [da, dn], { axis: int(1) });
      const direct = b.op("Add", [times(dh, updates[t]), times(m, resets[t])]);
      return b.op("Gemm", [da, gatesOf(r), direct]);
    });
  }
  const inputs = joined(b, ofInputs, 0);
  return plain.cotangents({
    inputs,
    states: inner === undefined ? inputs : joined(b, ofStates, 0),
    multiplied: inner === undefined
      ? [{ gates: 2, by: before }, { gates: 1, by: held }]
      : [{ gates: 3, by: before }],
    initial: [ofState],
  }, wanted);
};

export const GRU = recurrent({
  opType: "GRU",
  inputs: "3..6",
  ownAttributes: ["linear_before_reset"],
  remark: "unrolled with clip or other activations",
  gates: 3,
  activations: ["Sigmoid", "Tanh"],
  states: STATES,
  inputBias,
  stepOf,
  plainAttributes: ["linear_before_reset"],
  cotangents,
});
