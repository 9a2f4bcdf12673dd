/** LSTM: long short-term memory, with peepholes. */
import { floatAttribute, intAttribute } from "../graph/attributes.ts";
import { scalarLike } from "./broadcast.ts";
import { parts } from "./concat.ts";
import { affine, clipped, type Direction, recurrent, type Step } from "./recurrent.ts";

/**
 * i = f(Wx + Rh + P·c), g = g(…), f likewise or 1 - i; c' = f·c + i·g; o sees c'; h' = o·h(c').
 * `clip` holds what the activations of gates read, not the memory.
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
    const kept = couplesForget
      ? b.op("Sub", [scalarLike(b, input, 1), input])
      : gate(seeing(forget, pf, memory), f);
    const next = b.op("Add", [
      b.op("Mul", [kept, memory]),
      b.op("Mul", [input, gate(block, g)]),
    ]);
    const output = gate(seeing(o, po, next), f);
    return [b.op("Mul", [output, h(next)]), next];
  };
}

export const LSTM = recurrent({
  opType: "LSTM",
  gates: 4,
  activations: ["Sigmoid", "Tanh", "Tanh"],
  states: [5, 6],
  peepholes: 7,
  stepOf,
});
