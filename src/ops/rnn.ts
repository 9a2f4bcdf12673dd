/** RNN: one gate, which is the output. */
import { floatAttribute } from "../graph/attributes.ts";
import { recurrent } from "./recurrent.ts";
import { affine, type Cotangents, joined, PlainNode, tanhSlope } from "./recurrent_cotangents.ts";
import { clipped, type Direction, type Step } from "./recurrent_unrolled.ts";

/** Inputs that hold first states. */
const STATES = [5];

/** h' = f(Wx + Rh); `clip` limits what f reads. */
function stepOf({ b, node, recurrence, activations: [f] }: Direction): Step {
  const clip = floatAttribute(node, "clip", -1);
  const threshold = clip < 0 ? undefined : clip;
  return (projected, [state]) => [
    f(clipped(b, affine(b, state, recurrence, projected), threshold)),
  ];
}

/** From the last step to the first, δh = δy + R·δa' (of the following step) and δa = δh(1 - h²). */
const cotangents: Cotangents = (b, node, arriving, wanted) => {
  const plain = new PlainNode(b, node, STATES);
  const slopes = plain.steps(plain.within(tanhSlope(b, plain.outputs), 0));
  const staying = plain.staying && plain.steps(plain.staying);
  const ofGate = new Array<string>(plain.length);
  const ofState = plain.goBack(arriving, (dh, t) => {
    ofGate[t] = b.op("Mul", [dh, slopes[t]]);
    // Beyond its end, a sequence's state stays as it is.
    const direct = staying === undefined ? [] : [b.op("Mul", [dh, staying[t]])];
    return b.op("Gemm", [ofGate[t], plain.r, ...direct]);
  });
  const all = joined(b, ofGate, 0);
  return plain.cotangents({
    inputs: all,
    states: all,
    multiplied: [{ gates: 1, by: plain.outputsBefore }],
    initial: [ofState],
  }, wanted);
};

export const RNN = recurrent({
  opType: "RNN",
  inputs: "3..6",
  remark: "unrolled with clip or other activations",
  gates: 1,
  activations: ["Tanh"],
  states: STATES,
  stepOf,
  cotangents,
});
