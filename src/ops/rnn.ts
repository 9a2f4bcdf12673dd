/** RNN: one gate, which is the output. */
import { floatAttribute } from "../graph/attributes.ts";
import { affine, clipped, recurrent } from "./recurrent.ts";

export const RNN = recurrent({
  opType: "RNN",
  gates: 1,
  activations: ["Tanh"],
  states: [5],
  stepOf({ b, node, recurrence, activations: [f] }) {
    const clip = floatAttribute(node, "clip", -1);
    const threshold = clip < 0 ? undefined : clip;
    return (projected, [state]) => [
      f(clipped(b, affine(b, state, recurrence, projected), threshold)),
    ];
  },
});
