/**
 * graft.DropoutMask: a dropout mask made inside the graph from a seed, so that a backward call that
 * recomputes its segment sees the same mask as the forward call, and only the seed crosses to the
 * runtime.
 *
 *     mask[i, j] = 0 with `probability`, else 1 / (1 - probability),    of x's shape
 *
 * Row i has an odd number u_i, column j an odd number v_j, each module an odd number s, all hashed from the
 * seed, s also from the module's salt. An entry is dropped if u_i · v_j · s mod 2³², as a signed integer,
 * reaches a threshold: one product and one comparison per entry. Any two columns, of one module or of two,
 * are independent unless their numbers have a trivial ratio. x gives only the shape: rows are independent,
 * whatever leading axes they have.
 */
import { floatAttribute, int } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { ONNX_TYPE } from "../../graph/dtype.ts";
import { productOf } from "../../graph/extent_arithmetic.ts";
import type { Extent } from "../../graph/size.ts";
import { int32, int64, type Tensor } from "../../graph/tensor.ts";
import { GRAFT } from "../../graph/types.ts";
import { label, required } from "../args.ts";
import { shared } from "../contrib/support.ts";
import { rowsOfFirst } from "../rows.ts";
import { rowByRow } from "../traits.ts";
import type { OpRule } from "../types.ts";

/** Arguments of {@linkcode emitDropoutMask}. */
export interface DropoutMaskSpec {
  /** float32 [..., columns] */
  readonly x: string;
  /** int64 []: the seed of a micro-step. */
  readonly seed: string;
  /** int64 []: {@linkcode saltTensor} of a module. */
  readonly salt: string;
  /** Probability that an entry is 0; below 1. */
  readonly probability: number;
}

/** Emits the operator and returns the mask, float32 of x's shape. */
export function emitDropoutMask(
  b: GraphBuilder,
  { x, seed, salt, probability }: DropoutMaskSpec,
): string {
  const [mask] = b.emit({
    opType: "DropoutMask",
    domain: GRAFT,
    inputs: [x, seed, salt],
    attributes: { probability: { kind: "float", value: probability } },
    outputCount: 1,
  });
  return mask;
}

/** The salt of a module, from a number that tells it from others: a number below 2²⁴. */
export const saltTensor = (number: number): Tensor => int64([], [number + 1]);

export const DropoutMask: OpRule = {
  opType: "DropoutMask",
  domain: GRAFT,
  since: 1,
  attributes: ["probability"],
  inputs: "3",
  outputs: "1",
  traits: rowByRow("other", rowsOfFirst, "cheap"),

  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    if (dtype !== "float32" || dims.length < 2) {
      throw new RangeError(`${label(node)} needs rows of float32: current is ${dtype}[${dims}]`);
    }
    return [{ dtype, dims }];
  },

  blocksGradient: true,

  expand(b, node) {
    const [x, seed, salt] = node.inputs;
    const shape = b.shape(x);
    const probability = floatAttribute(node, "probability", 0);
    const [lead, columns] = [shape.slice(0, -1), shape[shape.length - 1]];
    const state = shared(b, `dropout state ${seed}`, () => mixed(b, seed));
    const u = shared(b, `dropout rows ${seed} ${lead}`, () => {
      const numbers = odd(b, hashed(b, multiples(b, mixed(b, state), productOf(lead))));
      return b.reshape(numbers, [...lead, 1]);
    });
    const v = shared(
      b,
      `dropout columns ${seed} ${columns}`,
      () => odd(b, hashed(b, multiples(b, state, columns))),
    );
    const s = odd(b, modulo(b, b.op("Mul", [state, salt])));
    const kept = b.op("Less", [
      b.op("Mul", [u, b.op("Mul", [v, s])]),
      b.constant(int32([], [threshold(probability)])),
    ]);
    b.emit({
      opType: "Mul",
      domain: "",
      attributes: {},
      inputs: [
        b.op("Cast", [kept], { to: int(ONNX_TYPE.float32) }),
        b.scalar(1 / (1 - probability)),
      ],
      outputs: node.outputs,
    });
  },
};

/** The Mersenne prime 2³¹ - 1: products of two residues stay below 2⁶². */
const PRIME = 2147483647;

const [FACTOR, SUMMAND, SECOND_FACTOR] = [1103515245, 1013904223, 1812433253];

const scalar = (b: GraphBuilder, n: number) => b.constant(int64([], [n]));

const modulo = (b: GraphBuilder, value: string) => b.op("Mod", [value, scalar(b, PRIME)]);

/** One round of mixing: x → ((a·x + c)² + x·d) mod p, all products below 2⁶³. */
function mixed(b: GraphBuilder, value: string): string {
  const reduced = modulo(b, value);
  const scaled = b.op("Mul", [reduced, scalar(b, FACTOR)]);
  const line = modulo(b, b.op("Add", [scaled, scalar(b, SUMMAND)]));
  const square = modulo(b, b.op("Mul", [line, line]));
  return modulo(b, b.op("Add", [square, b.op("Mul", [reduced, scalar(b, SECOND_FACTOR)])]));
}

const hashed = (b: GraphBuilder, value: string) => mixed(b, mixed(b, value));

/** Multiples of a residue, from 1 to `count` times. */
function multiples(b: GraphBuilder, residue: string, count: Extent): string {
  const step = b.op("Max", [residue, scalar(b, 1)]);
  return b.op("CumSum", [b.op("Expand", [step, b.int64s([count])]), scalar(b, 0)]);
}

/** 2x + 1 of residues below 2³¹, as int32: the upper half wraps around. */
function odd(b: GraphBuilder, value: string): string {
  const narrow = b.op("Cast", [value], { to: int(ONNX_TYPE.int32) });
  return b.op("Add", [b.op("Add", [narrow, narrow]), b.constant(int32([], [1]))]);
}

/** The signed number below which a share of 1 - probability of all numbers lies. */
const threshold = (probability: number) =>
  Math.min(Math.round((0.5 - probability) * 2 ** 32), 2 ** 31 - 1);
