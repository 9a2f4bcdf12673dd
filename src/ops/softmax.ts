/** Softmax and LogSoftmax. */
import { int, intAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { byteLength } from "../graph/dtype.ts";
import { productOf } from "../graph/extent_arithmetic.ts";
import { elementCount } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { normalizeAxis } from "./axes.ts";
import { scalarLike, sum } from "./broadcast.ts";
import { inferLikeInput } from "./like_input.ts";
import { rowsBefore } from "./rows.ts";
import { rowByRow, type Scratch } from "./traits.ts";
import type { OpRule } from "./types.ts";

/**
 * Before operator set 13, `axis` (1 by default) split the dimensions into rows and columns, and each row was
 * normalised as a whole.
 */
function lower(b: GraphBuilder, node: Node, opset: number): readonly string[] | undefined {
  if (opset >= 13) return undefined;
  const shape = b.shape(node.inputs[0]);
  const axis = normalizeAxis(node, intAttribute(node, "axis", 1), shape.length);
  const columns = productOf(shape.slice(axis));
  const rows = productOf(shape.slice(0, axis));
  // The usual case, the last axis, needs no reshaping.
  const last = columns === shape[shape.length - 1];
  const x = last ? node.inputs[0] : b.reshape(node.inputs[0], [rows, columns]);
  return [b.reshape(b.op(node.opType, [x], { axis: int(-1) }), shape)];
}

/** Any axis but the last is moved to the end and back. */
const otherAxis: Scratch = (node, values) => {
  const { dtype, dims } = values.known(node.inputs[0]);
  const axis = intAttribute(node, "axis", -1);
  const bytes = byteLength(dtype, elementCount(dims));
  return axis === -1 || axis === dims.length - 1 ? [] : [bytes, bytes];
};

function softmax(
  opType: string,
  gradient: (
    b: GraphBuilder,
    y: string,
    ct: string,
    axis: number,
  ) => string,
): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: ["axis"],
    inputs: "1",
    outputs: "1",
    traits: {
      ...rowByRow("other", rowsBefore("axis", -1), "moderate"),
      memory: "in place",
      scratch: otherAxis,
    },
    infer: inferLikeInput,
    lower: (b, node, { opset }) => lower(b, node, opset),
    vjp(b, node, [ct]) {
      const rank = b.dims(node.outputs[0]).length;
      const axis = normalizeAxis(node, intAttribute(node, "axis", -1), rank);
      return [gradient(b, node.outputs[0], ct!, axis)];
    },
  };
}

/**
 * dx = y·(ct - Σ ct·y): the difference first, so that of attention's scores no more than three values are in
 * memory at once, including `y`, which others may still read.
 *
 * A row with nothing to attend to (all scores -∞) is NaN; PyTorch exports such attention with IsNaN and a
 * Where that puts zeros in its place, so its cotangent is 0 and the result must be 0 too.
 */
export const Softmax = softmax("Softmax", (b, y, ct, axis) => {
  const total = sum(b, b.op("Mul", [ct, y]), [axis]);
  const dx = b.op("Mul", [y, b.op("Sub", [ct, total])]);
  const guarded = b.nodes.some(({ opType, inputs }) => opType === "IsNaN" && inputs[0] === y);
  if (!guarded) return dx;
  return b.op("Where", [b.op("IsNaN", [total]), scalarLike(b, dx, 0), dx]);
});

/** dx = ct - eʸ·Σ ct. */
export const LogSoftmax = softmax(
  "LogSoftmax",
  (b, y, ct, axis) => b.op("Sub", [ct, b.op("Mul", [b.op("Exp", [y]), sum(b, ct, [axis])])]),
);
