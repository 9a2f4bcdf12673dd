/** LSTM: long short-term memory, with peepholes. */
import { floatAttribute, int, intAttribute } from "../graph/attributes.ts";
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
  total,
} from "./recurrent_cotangents.ts";
import { clipped, type Direction, type Step } from "./recurrent_unrolled.ts";

/** Inputs that hold first states. */
const STATES = [5, 6];

/**
 * i = f(Wx + Rh + P·c), g = g(…), f likewise or 1 - i; c' = f·c + i·g; o sees c'; h' = o·h(c').
 * `clip` limits what the activations of gates read, not the memory.
 */
function stepOf({ b, node, recurrence, peepholes, activations }: Direction): Step {
  const [f, g, h] = activations;
  const threshold = floatAttribute(node, "clip", undefined);
  const couplesForget = intAttribute(node, "input_forget", 0) !== 0;
  const [pi, po, pf] = peepholes === undefined ? [] : parts(b, peepholes, 0, 3);
  const seeing = (gate: string, weight: string | undefined, memory: string) =>
    weight === undefined ? gate : b.op("Add", [gate, b.op("Mul", [memory, weight])]);
  const gate = (value: string, activation: (x: string) => string) =>
    activation(clipped(b, value, threshold));
  return (projected, [hidden, memory]) => {
    const [i, o, forget, block] = parts(b, affine(b, hidden, recurrence, projected), 1, 4);
    const input = gate(seeing(i, pi, memory), f);
    const kept = couplesForget ? rest(b, input) : gate(seeing(forget, pf, memory), f);
    const next = b.op("Add", [
      b.op("Mul", [kept, memory]),
      b.op("Mul", [input, gate(block, g)]),
    ]);
    const output = gate(seeing(o, po, next), f);
    return [b.op("Mul", [output, h(next)]), next];
  };
}

/**
 * With the gates' inputs a = Wx + Rh + b, their values i, o, f, g and t = tanh(c'): from the last
 * step to the first, δh = δy + R·δa', δc = δh·o(1 - t²) + δc'·f' (primes: of the following step) and
 * δa = [δc·g·i(1 - i), δh·t·o(1 - o), δc·c·f(1 - f), δc·i(1 - g²)].
 */
const cotangents: Cotangents = (b, node, arriving, wanted) => {
  const plain = new PlainNode(b, node, STATES);
  const { length, hidden, order, biases } = plain;
  const times = (x: string, y: string) => b.op("Mul", [x, y]);
  const [, memory] = plain.initial;
  const before = plain.outputsBefore;
  const bias = biases && b.op("Add", [...biases]);
  const gates = affine(b, before, plain.r, affine(b, plain.x, plain.w, bias));
  const sizes = b.int64s([3 * hidden, hidden]);
  const [sigmoids, block] = b.ops("Split", [gates, sizes], 2, { axis: int(1) });
  const [i, o, f] = parts(b, b.op("Sigmoid", [sigmoids]), 1, 3);
  const g = b.op("Tanh", [block]);
  // Beyond its end, a sequence's memory stays as it is.
  const kept = plain.steps(plain.within(f, 1));
  const added = plain.steps(plain.within(times(i, g), 0));
  const memories = new Array<string>(length);
  let last = memory;
  for (const t of order) last = memories[t] = b.op("Add", [times(kept[t], last), added[t]]);
  const after = joined(b, memories, 0);
  const tanh = b.op("Tanh", [after]);
  const allSlopes = joined(b, [
    times(g, sigmoidSlope(b, i)),
    times(tanh, sigmoidSlope(b, o)),
    times(plain.before(after, memory), sigmoidSlope(b, f)),
    times(i, tanhSlope(b, g)),
  ], 1);
  const slopes = plain.steps(plain.within(allSlopes, 0));
  const through = plain.steps(plain.within(times(o, tanhSlope(b, tanh)), 0));

  const ofGates = new Array<string>(length);
  let ofMemory = arriving[2] && plain.arrivingLast(arriving[2]);
  const staying = plain.staying && plain.steps(plain.staying);
  const ofState = plain.goBack(arriving, (dh, t) => {
    const dc = total(b, [times(dh, through[t]), ofMemory])!;
    ofGates[t] = times(b.op("Concat", [dc, dh, dc, dc], { axis: int(1) }), slopes[t]);
    const direct = staying === undefined ? [] : [times(dh, staying[t])];
    ofMemory = times(dc, kept[t]);
    return b.op("Gemm", [ofGates[t], plain.r, ...direct]);
  });
  const all = joined(b, ofGates, 0);
  return plain.cotangents({
    inputs: all,
    states: all,
    multiplied: [{ gates: 4, by: before }],
    initial: [ofState, ofMemory!],
  }, wanted);
};

export const LSTM = recurrent({
  opType: "LSTM",
  inputs: "3..8",
  ownAttributes: ["input_forget"],
  remark: "unrolled with clip or other activations, peepholes, input_forget",
  gates: 4,
  activations: ["Sigmoid", "Tanh", "Tanh"],
  states: STATES,
  peepholes: 7,
  stepOf,
  cotangents,
});
