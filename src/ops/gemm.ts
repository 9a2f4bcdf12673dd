/** Gemm: Y = alpha·A'·B' + beta·C, where A' and B' are A and B or their transposes. */
import type { GraphBuilder } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { areEqual } from "../graph/extent_arithmetic.ts";
import type { Node } from "../graph/types.ts";
import { float, floatAttribute, int, intAttribute } from "../graph/attributes.ts";
import { label, required, sameType } from "./args.ts";
import { broadcastDims, reduceTo, sameDims, scalarLike, zeros } from "./broadcast.ts";
import { rowByRow, type RowTest } from "./traits.ts";
import type { OpRule } from "./types.ts";

const read = (node: Node) => ({
  alpha: floatAttribute(node, "alpha", 1),
  beta: floatAttribute(node, "beta", 1),
  transA: intAttribute(node, "transA", 0),
  transB: intAttribute(node, "transB", 0),
});

/**
 * alpha·x'·y' for cotangents. Kernels of older releases refuse matrices without elements, whose
 * product is zero.
 */
export function product2d(
  b: GraphBuilder,
  x: string,
  y: string,
  transA: number,
  transB: number,
  alpha = 1,
): string {
  const [m, k] = transA ? b.shape(x).toReversed() : b.shape(x);
  const n = b.shape(y)[transB ? 0 : 1];
  if ([m, k, n].includes(0)) return zeros(b, b.known(x).dtype, [m, n]);
  return b.op("Gemm", [x, y], { alpha: float(alpha), transA: int(transA), transB: int(transB) });
}

/** Rows of A, unless A is read transposed or C has a different entry for each row. */
const rowsOfA: RowTest = (node, { lead, leadOf, dims }) => {
  const [a, , c = ""] = node.inputs;
  const isAlike = c === "" || dims(c).length < 2 || extentsOf(dims(c))[0] === 1;
  return leadOf(a) === lead && read(node).transA === 0 && isAlike ? "first" : undefined;
};

export const Gemm: OpRule = {
  opType: "Gemm",
  domain: "",
  since: 7,
  attributes: ["alpha", "beta", "transA", "transB"],
  inputs: "2..3",
  outputs: "1",
  traits: rowByRow("product", rowsOfA, "costly"),
  infer(node, inputs) {
    const { transA, transB } = read(node);
    const a = required(node, inputs, 0);
    const b = required(node, inputs, 1);
    const c = inputs[2];
    if (a.dims.length !== 2 || b.dims.length !== 2) {
      throw new RangeError(
        `${label(node)} needs matrices: current are [${a.dims}] and [${b.dims}]`,
      );
    }
    const [m, k] = transA ? extentsOf(a.dims).toReversed() : extentsOf(a.dims);
    const [k2, n] = transB ? extentsOf(b.dims).toReversed() : extentsOf(b.dims);
    if (!areEqual(k, k2)) {
      throw new RangeError(`${label(node)}: matrices do not fit: [${a.dims}] and [${b.dims}]`);
    }
    const dims = asDims([m, n]);
    if (c !== undefined && !sameDims(broadcastDims(dims, c.dims), dims)) {
      throw new RangeError(`${label(node)}: C [${c.dims}] does not broadcast to [${dims}]`);
    }
    return [{ dtype: sameType(node, c === undefined ? [a, b] : [a, b, c]), dims }];
  },
  vjp(b, node, [ct], wanted) {
    const { alpha, beta, transA, transB } = read(node);
    const [left, right, bias] = node.inputs;
    const gemm = (x: string, y: string, tx: number, ty: number) =>
      product2d(b, x, y, tx, ty, alpha);
    const da = () => transA === 0 ? gemm(ct!, right, 0, 1 - transB) : gemm(right, ct!, transB, 1);
    const db = () => transB === 0 ? gemm(left, ct!, 1 - transA, 0) : gemm(ct!, left, 1, transA);
    const dc = () => {
      const scaled = beta === 1 ? ct! : b.op("Mul", [ct!, scalarLike(b, ct!, beta)]);
      return reduceTo(b, scaled, b.dims(bias));
    };
    return [
      wanted[0] ? da() : undefined,
      wanted[1] ? db() : undefined,
      wanted[2] ? dc() : undefined,
    ];
  },
};
