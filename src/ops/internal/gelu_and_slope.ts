/**
 * graft.GeluAndSlope: GELU, and its slope in 8 bits for the backward pass.
 *
 *     y = x·Φ(x),    slope = Φ(x) + x·φ(x), rounded to steps of 1/200
 *
 * The slope lies between -0.13 and 1.13, so one scale that is known beforehand rounds all of it. That is
 * finer than a slope computed from an x that was rounded with the scale of its row; and it is computed once,
 * together with y, instead of again from x in the backward pass.
 */
import type { GraphBuilder } from "../../graph/builder.ts";
import { node as nodeOf } from "../../graph/node.ts";
import { tensor } from "../../graph/tensor.ts";
import { GRAFT, type Node } from "../../graph/types.ts";
import { required } from "../args.ts";
import { emitCumulative, emitSlope } from "../gelu.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";

/** Step of the slope: 255 steps from -0.14 to 1.135. */
const STEP = 1 / 200;
const ZERO_POINT = 28;

/** The node without its outputs: y, float32, and the slope's codes, uint8. */
export function geluAndSlopeNode(
  x: string,
): Pick<Node, "opType" | "domain" | "inputs" | "attributes"> {
  return { opType: "GeluAndSlope", domain: GRAFT, inputs: [x], attributes: {} };
}

export const GeluAndSlope: OpRule = {
  opType: "GeluAndSlope",
  domain: GRAFT,
  since: 1,
  attributes: [],
  inputs: "1",
  outputs: "2",
  traits: elementwise("activation", "costly"),

  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    return [{ dtype, dims }, { dtype: "uint8", dims }];
  },

  vjp(b, node, [ct]) {
    const slope = b.op("DequantizeLinear", [node.outputs[1], ...scaleOf(b)]);
    return [b.op("Mul", [ct!, slope])];
  },

  expand(b, node) {
    const [x] = node.inputs;
    const [y, slope] = node.outputs;
    const made = emitCumulative(b, x);
    b.add(nodeOf("Mul", [x, made.cumulative], y));
    b.add(nodeOf("QuantizeLinear", [emitSlope(b, x, made), ...scaleOf(b)], slope));
  },
};

const scaleOf = (b: GraphBuilder) => [
  b.scalar(STEP),
  b.constant(tensor("uint8", [], Uint8Array.of(ZERO_POINT)), "zero_point"),
];
