/** com.microsoft.FusedMatMul (and its older name TransposeMatMul): α · op(A) · op(B). */
import { floatAttribute, int, intAttribute, ints } from "../../graph/attributes.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import { extentsOf } from "../../graph/extents.ts";
import { isAtMost, productOf } from "../../graph/extent_arithmetic.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import { matMulDims } from "../mat_mul.ts";
import { mixed } from "../traits.ts";
import type { OpRule, TrainingRule } from "../types.ts";
import { sameDims, scalarOf } from "../broadcast.ts";
import { refuse, requireAttribute, requiredKnown } from "./support.ts";

function check(node: Node): void {
  requireAttribute(node, "transBatchA", 0);
  requireAttribute(node, "transBatchB", 0);
}

const swapped = <T>(list: readonly T[]): T[] => [...list.slice(0, -2), list.at(-1)!, list.at(-2)!];

function transposed(b: GraphBuilder, value: string): string {
  const axes = b.shape(value).map((_, i) => i);
  return b.op("Transpose", [value], { perm: ints(swapped(axes)) });
}

const rule = (opType: string): TrainingRule => ({
  opType,
  domain: MICROSOFT,
  since: 1,
  attributes: ["alpha", "transA", "transB", "transBatchA", "transBatchB"],
  inputs: "2",
  outputs: "1",
  remark: "without batch transposition",
  traits: mixed("product"),

  infer(node, inputs) {
    check(node);
    const a = requiredKnown(node, "A", inputs, 0);
    const b = requiredKnown(node, "B", inputs, 1);
    const dims = matMulDims(
      node,
      intAttribute(node, "transA", 0) ? swapped(extentsOf(a.dims)) : a.dims,
      intAttribute(node, "transB", 0) ? swapped(extentsOf(b.dims)) : b.dims,
      2,
    );
    return [{ dtype: a.dtype, dims }];
  },

  lower(b, node) {
    check(node);
    let [left, right] = node.inputs;
    if (intAttribute(node, "transA", 0)) left = transposed(b, left);
    if (intAttribute(node, "transB", 0)) right = transposed(b, right);
    const alpha = floatAttribute(node, "alpha", 1);
    if (alpha === 1) return [b.op("MatMul", [left, right])];
    const scale = (x: string) => b.op("Mul", [x, scalarOf(b, b.known(x).dtype, alpha)]);
    const dims = matMulDims(node, b.dims(left), b.dims(right), 2);
    // Scale whichever is smaller: the left operand (queries) or the product (of many channels).
    if (!isAtMost(productOf(extentsOf(dims)), productOf(b.shape(left)))) {
      return [b.op("MatMul", [scale(left), right])];
    }
    return [scale(b.op("MatMul", [left, right]))];
  },
});

/**
 * Handles the form in which attention's scores are emitted: stacks of one shape, the right one read
 * transposed. C = A·Bᵀ, so dA = dC·B and dB = dCᵀ·A.
 */
const vjp: TrainingRule["vjp"] = (b, node, [ct], wanted) => {
  const [left, right] = node.inputs;
  const stack = (value: string) => b.shape(value).slice(0, -2);
  const asEmitted = intAttribute(node, "transB", 0) === 1 &&
    floatAttribute(node, "alpha", 1) === 1 &&
    intAttribute(node, "transA", 0) === 0 && sameDims(stack(left), stack(right));
  if (!asEmitted) refuse(node, "the derivative of this form");
  return [
    wanted[0] ? b.op("MatMul", [ct!, right]) : undefined,
    wanted[1] ? b.microsoft("FusedMatMul", [ct!, left], { transA: int(1) }) : undefined,
  ];
};

export const FusedMatMul: OpRule = { ...rule("FusedMatMul"), vjp };
export const TransposeMatMul: OpRule = rule("TransposeMatMul");
