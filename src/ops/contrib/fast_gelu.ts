/**
 * com.microsoft.FastGelu: x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, with a bias added first.
 *
 * The kernel is kept in training graphs without its bias, which becomes an Add.
 */
import type { GraphBuilder } from "../../graph/builder.ts";
import { MICROSOFT } from "../../graph/types.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { scalarOf } from "../broadcast.ts";
import { inferLike } from "./support.ts";

const ROOT = Math.sqrt(2 / Math.PI);
const CUBE = 0.044715;

/** (1 + t)/2 + x·(1 - t²)/2·√(2/π)·(1 + 3·0.044715·x²), where t is the tanh. */
function slope(b: GraphBuilder, x: string): string {
  const { dtype } = b.known(x);
  const scalar = (value: number) => scalarOf(b, dtype, value);
  const square = b.op("Mul", [x, x]);
  const inner = b.op("Add", [b.op("Mul", [square, scalar(ROOT * CUBE)]), scalar(ROOT)]);
  const t = b.op("Tanh", [b.op("Mul", [x, inner])]);
  const half = b.op("Add", [b.op("Mul", [t, scalar(0.5)]), scalar(0.5)]);
  // (1 - t²)/2 = 2·half·(1 - half), which stays precise where t is close to 1.
  const bell = b.op("Mul", [
    b.op("Mul", [half, scalar(2)]),
    b.op("Sub", [scalar(1), half]),
  ]);
  const steep = b.op("Add", [b.op("Mul", [square, scalar(3 * ROOT * CUBE)]), scalar(ROOT)]);
  return b.op("Add", [half, b.op("Mul", [b.op("Mul", [x, bell]), steep])]);
}

export const FastGelu: OpRule = {
  opType: "FastGelu",
  domain: MICROSOFT,
  since: 1,
  attributes: [],
  inputs: "1..2",
  outputs: "1",
  traits: elementwise("activation", "costly"),

  infer: inferLike("X"),

  lower(b, node) {
    const [x, bias = ""] = node.inputs;
    return bias === "" ? undefined : [b.microsoft("FastGelu", [b.op("Add", [x, bias])])];
  },

  vjp(b, node, [ct], wanted) {
    const [x] = node.inputs;
    const gradient = ct !== undefined && wanted[0] ? b.op("Mul", [ct, slope(b, x)]) : undefined;
    return node.inputs.map((_, i) => i === 0 ? gradient : undefined);
  },
};
