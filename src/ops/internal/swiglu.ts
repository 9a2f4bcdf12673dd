/**
 * graft.SwiGLU: the gated unit of Llama's and later models' feed-forward layers.
 *
 *     y = silu(g) ⊙ u = g ⊙ σ(g) ⊙ u
 *
 * As one operator its derivative takes fewer passes than those of its parts: with
 * silu'(g) = σ + silu(g)(1 − σ),
 *
 *     du = dy ⊙ silu(g),    dg = dy ⊙ silu'(g) ⊙ u = dy ⊙ (σ ⊙ (u − y) + y).
 *
 * Source: Shazeer, "GLU Variants Improve Transformer" (arXiv:2002.05202).
 */
import type { GraphBuilder } from "../../graph/builder.ts";
import { node as nodeOf } from "../../graph/node.ts";
import { GRAFT, type Node } from "../../graph/types.ts";
import { label, required } from "../args.ts";
import type { OpRule } from "../types.ts";

/** The node without its outputs; gate and up of one shape. */
export function swigluNode(
  gate: string,
  up: string,
): Pick<Node, "opType" | "domain" | "inputs" | "attributes"> {
  return { opType: "SwiGLU", domain: GRAFT, inputs: [gate, up], attributes: {} };
}

export const swiglu: OpRule = {
  opType: "SwiGLU",
  domain: GRAFT,

  infer(node, inputs) {
    const gate = required(node, inputs, 0);
    const up = required(node, inputs, 1);
    if (gate.dims.join() !== up.dims.join()) {
      throw new RangeError(
        `${label(node)} needs two operands of one shape: they are [${gate.dims}] and [${up.dims}]`,
      );
    }
    return [{ dtype: gate.dtype, dims: gate.dims }];
  },

  vjp(b, node, [ct], wanted) {
    const [gate, up] = node.inputs;
    const [y] = node.outputs;
    const { sigmoid, silu } = emitSilu(b, gate);
    const slope = () => b.op("Add", [b.op("Mul", [sigmoid, b.op("Sub", [up, y])]), y]);
    return [
      wanted[0] ? b.op("Mul", [ct!, slope()]) : undefined,
      wanted[1] ? b.op("Mul", [ct!, silu]) : undefined,
    ];
  },

  expand(b, node) {
    const [gate, up] = node.inputs;
    const { silu } = emitSilu(b, gate);
    b.add(nodeOf("Mul", [silu, up], node.outputs[0]));
  },
};

/** Emits the sigmoid apart, which both directions read: ONNX Runtime shares equal nodes. */
function emitSilu(b: GraphBuilder, gate: string) {
  const sigmoid = b.op("Sigmoid", [gate]);
  return { sigmoid, silu: b.op("Mul", [gate, sigmoid]) };
}
