/**
 * MatMul, with NumPy's rules for stacks of matrices and for vectors.
 *
 * The cotangents never write out a transposed matrix: against a single right matrix they use Gemm's transA
 * and transB, against a stack ONNX Runtime's FusedMatMul.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { int } from "../graph/attributes.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { areEqual, isAtMost, productOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { label, required, sameType } from "./args.ts";
import { broadcastDims, reduceTo } from "./broadcast.ts";
import { product2d } from "./gemm.ts";
import { rowByRow, type RowTest } from "./traits.ts";
import type { OpRule } from "./types.ts";

/**
 * The shape of a product of stacks of matrices, or of vectors.
 *
 * @param least dimensions that each operand has: a vector, with one, is a row on the left and a column
 *   on the right, which the product lacks
 * @throws {RangeError} if the operands do not fit, naming the node
 */
export function matMulDims(
  node: Node,
  aDims: readonly Extent[],
  bDims: readonly Extent[],
  least: 1 | 2 = 1,
): readonly number[] {
  const [a, b] = [extentsOf(aDims), extentsOf(bDims)];
  const fail = (cause?: unknown): never => {
    throw new RangeError(
      `Operands of ${label(node)} do not fit: shapes are [${a}] and [${b}]`,
      { cause },
    );
  };
  if (a.length < least || b.length < least) fail();
  const left = a.length === 1 ? [1, a[0]] : a;
  const right = b.length === 1 ? [b[0], 1] : b;
  if (!areEqual(left.at(-1)!, right.at(-2)!)) fail();
  const stacked = (): readonly number[] => {
    try {
      return broadcastDims(left.slice(0, -2), right.slice(0, -2));
    } catch (error) {
      return fail(error);
    }
  };
  return asDims([
    ...extentsOf(stacked()),
    ...a.length === 1 ? [] : [left.at(-2)!],
    ...b.length === 1 ? [] : [right.at(-1)!],
  ]);
}

/** The product of stacks of matrices, either of which may be read transposed. */
function matMul(
  b: GraphBuilder,
  left: string,
  right: string,
  transA: boolean,
  transB: boolean,
): string {
  if (!transA && !transB) return b.op("MatMul", [left, right]);
  return b.microsoft("FusedMatMul", [left, right], {
    transA: int(Number(transA)),
    transB: int(Number(transB)),
  });
}

/**
 * A gradient with this many times more columns than rows is not computed by Gemm: if the weight was read
 * transposed, as an adapter's B is, ONNX Runtime would fuse the transposition of the gradient back into Gemm
 * and compute it upright, which is slower.
 */
const NARROW = 8;

/** Rows of the left operand of a single matrix. */
const rowsOfLeft: RowTest = ({ inputs: [left, right] }, { lead, leadOf, dims }) =>
  leadOf(left) === lead && dims(left).length > lead && dims(right).length === 2
    ? "first"
    : undefined;

export const MatMul: OpRule = {
  opType: "MatMul",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "2",
  outputs: "1",
  traits: rowByRow("product", rowsOfLeft, "costly"),
  infer(node, inputs) {
    const a = required(node, inputs, 0);
    const b = required(node, inputs, 1);
    return [{ dtype: sameType(node, [a, b]), dims: matMulDims(node, a.dims, b.dims) }];
  },
  vjp(b, node, [ct], wanted) {
    const [aDims, bDims] = [b.shape(node.inputs[0]), b.shape(node.inputs[1])];
    const left = aDims.length === 1 ? b.reshape(node.inputs[0], [1, aDims[0]]) : node.inputs[0];
    const right = bDims.length === 1 ? b.reshape(node.inputs[1], [bDims[0], 1]) : node.inputs[1];
    const [leftDims, rightDims] = [b.shape(left), b.shape(right)];
    const [m, k] = leftDims.slice(-2);
    const n = rightDims[rightDims.length - 1];
    const stack = extentsOf(broadcastDims(leftDims.slice(0, -2), rightDims.slice(0, -2)));
    const dy = b.reshape(ct!, [...stack, m, n]);
    let da: string | undefined;
    let db: string | undefined;
    if (productOf(rightDims.slice(0, -2)) === 1) {
      // One right matrix: fold the stack into rows.
      const rows = times(productOf(stack), m);
      const flatDy = b.reshape(dy, [rows, n]);
      if (wanted[0]) da = product2d(b, flatDy, b.reshape(right, [k, n]), 0, 1);
      if (wanted[1]) {
        const flat = b.reshape(left, [rows, k]);
        db = isAtMost(times(k, NARROW), n)
          ? matMul(b, flat, flatDy, true, false)
          : product2d(b, flat, flatDy, 1, 0);
      }
    } else {
      if (wanted[0]) da = reduceTo(b, matMul(b, dy, right, false, true), leftDims);
      if (wanted[1]) db = reduceTo(b, matMul(b, left, dy, true, false), rightDims);
    }
    return [
      da === undefined ? undefined : b.reshape(da, aDims),
      db === undefined ? undefined : b.reshape(db, bDims),
    ];
  },
};
