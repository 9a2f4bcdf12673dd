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
 * graft.SwiGLUAndFactors outputs these factors of dy besides y: a backward pass that is given both, and
 * neither g nor u, is two products.
 *
 * Source: Shazeer, "GLU Variants Improve Transformer" (arXiv:2002.05202).
 */
import type { GraphBuilder, Known } from "../../graph/builder.ts";
import { node as nodeOf } from "../../graph/node.ts";
import { GRAFT, type Node } from "../../graph/types.ts";
import { label, required } from "../args.ts";
import { sameDims } from "../broadcast.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";

/** Just below silu's least value, at −1.2785. */
export const LEAST_SILU = -0.2785;

/** The node without its outputs; gate and up have the same shape. */
export function swigluNode(
  gate: string,
  up: string,
): Pick<Node, "opType" | "domain" | "inputs" | "attributes"> {
  return { opType: "SwiGLU", domain: GRAFT, inputs: [gate, up], attributes: {} };
}

/** The same with outputs for y, silu(g) and silu'(g) ⊙ u. */
export function swigluAndFactorsNode(
  gate: string,
  up: string,
): Pick<Node, "opType" | "domain" | "inputs" | "attributes"> {
  return { ...swigluNode(gate, up), opType: "SwiGLUAndFactors" };
}

export const SwiGLU: OpRule = {
  opType: "SwiGLU",
  domain: GRAFT,
  since: 1,
  attributes: [],
  inputs: "2",
  outputs: "1",
  traits: elementwise("activation", "cheap"),

  infer: (node, inputs) => [known(node, inputs)],

  vjp(b, node, [ct], wanted) {
    const [gate, up] = node.inputs;
    const { sigmoid, silu } = emitSilu(b, gate);
    return [
      wanted[0]
        ? b.op("Mul", [ct!, b.op("Add", slopeTerms(b, sigmoid, up, node.outputs[0]))])
        : undefined,
      wanted[1] ? b.op("Mul", [ct!, silu]) : undefined,
    ];
  },

  expand(b, node) {
    const [gate, up] = node.inputs;
    const { silu } = emitSilu(b, gate);
    b.add(nodeOf("Mul", [silu, up], node.outputs[0]));
  },
};

export const SwiGLUAndFactors: OpRule = {
  opType: "SwiGLUAndFactors",
  domain: GRAFT,
  since: 1,
  attributes: [],
  inputs: "2",
  outputs: "3",
  traits: elementwise("activation", "costly"),

  infer(node, inputs) {
    const one = known(node, inputs);
    return [one, one, one];
  },

  vjp(b, node, [ct], wanted) {
    const [, silu, slope] = node.outputs;
    return [
      wanted[0] ? b.op("Mul", [ct!, slope]) : undefined,
      wanted[1] ? b.op("Mul", [ct!, silu]) : undefined,
    ];
  },

  expand(b, node) {
    const [gate, up] = node.inputs;
    const [y, silu, slope] = node.outputs;
    const sigmoid = b.op("Sigmoid", [gate]);
    b.add(nodeOf("Mul", [gate, sigmoid], silu));
    b.add(nodeOf("Mul", [silu, up], y));
    b.add(nodeOf("Add", slopeTerms(b, sigmoid, up, y), slope));
  },
};

function known(node: Node, inputs: Parameters<OpRule["infer"]>[1]): Known {
  const gate = required(node, inputs, 0);
  const up = required(node, inputs, 1);
  if (!sameDims(gate.dims, up.dims)) {
    throw new RangeError(
      `${label(node)} needs two operands of one shape: they are [${gate.dims}] and [${up.dims}]`,
    );
  }
  return { dtype: gate.dtype, dims: gate.dims };
}

/** Emits the two terms of silu'(g) ⊙ u. */
function slopeTerms(b: GraphBuilder, sigmoid: string, up: string, y: string): [string, string] {
  return [b.op("Mul", [sigmoid, b.op("Sub", [up, y])]), y];
}

/** Emits the sigmoid separately, since both directions read it: ONNX Runtime shares equal nodes. */
function emitSilu(b: GraphBuilder, gate: string) {
  const sigmoid = b.op("Sigmoid", [gate]);
  return { sigmoid, silu: b.op("Mul", [gate, sigmoid]) };
}
