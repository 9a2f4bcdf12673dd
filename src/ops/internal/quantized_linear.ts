/**
 * graft.QuantizedLinear: a linear layer with frozen 8-bit weights, computed in 8-bit integers.
 *
 *     y = ((x ⊙ pre) · W) ⊙ post,    W [K, N], or [N, K] where `transB` is 1
 *
 * W is int8, or uint8 around 128; `post` is a scale per output channel, `pre` one per input channel; both may
 * be absent. The cotangent of x is the same operator with W transposed and the scales exchanged,
 *
 *     dx = ((dy ⊙ post) · Wᵀ) ⊙ pre,
 *
 * so one copy of the weights serves both directions: the call that reads it the other way transposes it
 * first, unless it is also given transposed. Each row of x ⊙ pre is rounded to 8 bits with a scale of its own
 * when the operator is expanded: kernels multiply unsigned activations (signed by signed has no fast kernel
 * on x86), so the zero point is 128. Rows are independent, whatever the leading axes.
 *
 * With `slices` 2 the rows are rounded to 16 bits, as two slices of 8, of which the second holds the
 * remainder of the first, and multiplied slice by slice:
 *
 *     x ⊙ pre = s·(high + low/254),    y = s·(high·W + low·W/254) ⊙ post.
 *
 * Source: Ootomo, Ozaki and Yokota, arXiv:2306.11975.
 */
import { int, intAttribute } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { type CodeType, ZERO_POINTS } from "../../graph/codes.ts";
import { asDims, extentsOf } from "../../graph/extents.ts";
import { productOf } from "../../graph/extent_arithmetic.ts";
import { elementCount } from "../../graph/tensor.ts";
import { GRAFT, type Node } from "../../graph/types.ts";
import { shared } from "../contrib/support.ts";
import { label, required } from "../args.ts";
import { transpose } from "../transpose.ts";
import { rowsOfFirst } from "../rows.ts";
import { rowByRow } from "../traits.ts";
import type { OpRule } from "../types.ts";
import {
  emitLowCodes,
  emitRowCodes,
  emitRowScales,
  SLICE_STEPS,
  zeroPoint,
} from "./rounded_rows.ts";

/** Arguments of {@linkcode emitQuantizedLinear}. */
export interface QuantizedLinearSpec {
  /** float32 [..., K] */
  readonly x: string;
  /** int8 or uint8 [K, N], or [N, K] with `transB`. */
  readonly weight: string;
  readonly transB: boolean;
  /** The transposed weight, for the direction that reads it transposed. */
  readonly transposed?: string;
  /** float32 [K] or a scalar. */
  readonly pre?: string;
  /** float32 [N] or a scalar. */
  readonly post?: string;
  /** Slices of 8 bits that the activations are rounded to; default 1. */
  readonly slices?: Slices;
}

export type Slices = 1 | 2;

/** Emits the operator and returns y, float32 [..., N]. */
export function emitQuantizedLinear(b: GraphBuilder, spec: QuantizedLinearSpec): string {
  return b.emit(quantizedLinearNode(spec))[0];
}

/** The node without its outputs. */
export function quantizedLinearNode(spec: QuantizedLinearSpec) {
  const { x, weight, transB, pre = "", post = "", slices = 1 } = spec;
  return {
    opType: "QuantizedLinear",
    domain: GRAFT,
    inputs: [x, weight, post, pre, ...(spec.transposed === undefined ? [] : [spec.transposed])],
    attributes: {
      transB: int(Number(transB)),
      ...(slices === 1 ? {} : { slices: int(slices) }),
    },
  };
}

function specOf(node: Node) {
  const [x, weight, post = "", pre = "", transposed] = node.inputs;
  const slices: Slices = intAttribute(node, "slices", 1) === 2 ? 2 : 1;
  return {
    x,
    weight,
    transB: intAttribute(node, "transB", 0) === 1,
    transposed,
    slices,
    ...(post === "" ? {} : { post }),
    ...(pre === "" ? {} : { pre }),
  };
}

export const QuantizedLinear: OpRule = {
  opType: "QuantizedLinear",
  domain: GRAFT,
  since: 1,
  attributes: ["transB", "slices"],
  inputs: "2..5",
  outputs: "1",
  traits: rowByRow("rounded product", rowsOfFirst, "costly"),

  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const weight = required(node, inputs, 1);
    const { transB } = specOf(node);
    if (!(weight.dtype in ZERO_POINTS) || weight.dims.length !== 2) {
      throw new RangeError(
        `${
          label(node)
        } needs a matrix of 8-bit integers: current is ${weight.dtype}[${weight.dims}]`,
      );
    }
    const [k, n] = transB ? [weight.dims[1], weight.dims[0]] : weight.dims;
    if (x.dims.at(-1) !== k) {
      throw new RangeError(
        `${label(node)}: operands do not fit: x is [${x.dims}], the weight [${weight.dims}]`,
      );
    }
    for (const [index, size] of [[2, n], [3, k]]) {
      const scale = inputs[index];
      if (
        scale === undefined || elementCount(scale.dims) === 1 || scale.dims.join() === `${size}`
      ) {
        continue;
      }
      throw new RangeError(
        `${label(node)} needs ${size} scales as input ${index}: current shape is [${scale.dims}]`,
      );
    }
    return [{ dtype: x.dtype, dims: asDims([...extentsOf(x.dims).slice(0, -1), n]) }];
  },

  vjp(b, node, [ct], wanted) {
    const { transB, pre, post, ...same } = specOf(node);
    const none = node.inputs.slice(1).map(() => undefined);
    if (!wanted[0]) return [undefined, ...none];
    const back = { ...same, x: ct!, transB: !transB };
    // One scale for everything costs nothing after the product, but before it a pass over dy.
    const after = post !== undefined && isScalar(b, post) && pre === undefined;
    const scales = after ? { post } : { pre: post, post: pre };
    return [emitQuantizedLinear(b, { ...back, ...scales }), ...none];
  },

  expand(b, node) {
    const { x, weight, transB, transposed, slices, pre, post } = specOf(node);
    const matrix = transB ? transposed ?? transpose(b, weight) : weight;
    const { high, low, scale } = quantizedRows(b, x, pre, slices);
    const first = multiply(b, high, matrix, post);
    const y = low === undefined
      ? first
      : b.op("Add", [first, multiply(b, low, matrix, post, SLICE_STEPS)]);
    const lead = b.shape(x).slice(0, -1);
    b.emit({
      opType: "Mul",
      domain: "",
      attributes: {},
      // Every kernel takes one scale for the activations; the rows' own scales follow.
      inputs: [b.reshape(y, [...lead, b.dims(y)[1]]), b.reshape(scale, [...lead, 1])],
      outputs: node.outputs,
    });
  },
};

/** (codes · matrix) ⊙ post / `divisor`, float32 [rows, N]. */
function multiply(
  b: GraphBuilder,
  codes: string,
  matrix: string,
  post: string | undefined,
  divisor = 1,
): string {
  const whole = post === undefined ? b.scalar(1) : b.reshape(post, flat(b, post));
  return b.microsoft("MatMulIntegerToFloat", [
    codes,
    matrix,
    b.scalar(1),
    divisor === 1 ? whole : b.op("Mul", [whole, b.scalar(1 / divisor)]),
    zeroPoint(b, "uint8"),
    zeroPoint(b, b.known(matrix).dtype as CodeType),
  ]);
}

const isScalar = (b: GraphBuilder, name: string) => elementCount(b.dims(name)) === 1;

const flat = (b: GraphBuilder, name: string) => isScalar(b, name) ? [] : [b.dims(name)[0]];

/**
 * Rows of x ⊙ pre in slices of 8 bits; made once for all products that read the same x.
 *
 * @returns codes uint8 [rows, K], those of the second slice if there is one, and the rows' scales, float32
 *   [rows]
 */
function quantizedRows(b: GraphBuilder, x: string, pre: string | undefined, slices: Slices) {
  const shape = b.shape(x);
  const width = shape[shape.length - 1];
  const rows = productOf(shape.slice(0, -1));
  const key = `8-bit rows of ${x} by ${pre ?? ""}`;
  const values = shared(b, `${key}: values`, () => {
    const scaled = pre === undefined ? x : b.op("Mul", [x, pre]);
    return b.reshape(scaled, [rows, width]);
  });
  const scale = shared(b, `${key}: scale`, () => emitRowScales(b, values));
  const high = shared(b, `${key}: codes`, () => emitRowCodes(b, values, scale, "uint8"));
  const low = slices === 1
    ? undefined
    : shared(b, `${key}: low`, () => emitLowCodes(b, { values, codes: high, scale }, "uint8"));
  return { high, low, scale };
}
