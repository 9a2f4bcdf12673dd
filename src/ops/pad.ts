/** Pad: more elements before and after an axis (or fewer: negative counts remove elements). */
import { floatAttribute, intsAttribute, stringAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { isAtMost, plus, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import {
  constantInts,
  knownInputs,
  label,
  required,
  requiredExtents,
  unsupported,
} from "./args.ts";
import { normalizeAxis, range } from "./axes.ts";
import { scalarLike } from "./broadcast.ts";
import { padZeros } from "./slice.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Counts before and after each axis; an attribute before operator set 11. */
function counts(node: Node, inputs: readonly (Known | undefined)[]) {
  const rank = required(node, inputs, 0).dims.length;
  const given = intsAttribute(node, "pads", undefined) ?? requiredExtents(node, inputs, 1, "pads");
  const axes = (constantInts(node, inputs, 3, "axes") ?? range(rank))
    .map((axis) => normalizeAxis(node, axis, rank));
  if (given.length !== 2 * axes.length) {
    throw new RangeError(
      `${label(node)}: pads must be two counts an axis: current value is [${given}]`,
    );
  }
  const before = new Array<Extent>(rank).fill(0);
  const after = new Array<Extent>(rank).fill(0);
  axes.forEach((axis, i) => {
    before[axis] = given[i];
    after[axis] = given[i + axes.length];
  });
  return { before, after };
}

function lower(b: GraphBuilder, node: Node): readonly string[] {
  const mode = stringAttribute(node, "mode", "constant");
  if (mode !== "constant") {
    throw unsupported(node, `it supports mode "constant": current value is "${mode}"`);
  }
  const [x] = node.inputs;
  const { before, after } = counts(node, knownInputs(b, node));
  if ([...before, ...after].every((count) => count === 0)) return [x];
  const fill = node.inputs[2] ? node.inputs[2] : scalarLike(b, x, floatAttribute(node, "value", 0));
  return [b.op("Pad", [x, b.int64s([...before, ...after]), fill])];
}

export const Pad: OpRule = {
  opType: "Pad",
  domain: "",
  since: 7,
  attributes: ["mode", "pads", "value"],
  inputs: "1..4",
  outputs: "1",
  remark: 'mode "constant"',
  traits: mixed("other"),
  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    const { before, after } = counts(node, inputs);
    const shape = extentsOf(dims);
    const out = shape.map((dim, i) => plus(plus(dim, before[i]), after[i]));
    if (out.some((dim) => isAtMost(dim, -1))) {
      throw new RangeError(`${label(node)} cuts more away than [${shape}] has`);
    }
    return [{ dtype, dims: asDims(out) }];
  },
  lower,
  vjp(b, node, [ct], wanted) {
    if (wanted[2]) throw unsupported(node, "its constant_value is computed by what is trained");
    const { before, after } = counts(node, knownInputs(b, node));
    const negated = (values: readonly Extent[]) => values.map((count) => times(-1, count));
    return [wanted[0] ? padZeros(b, ct!, negated(before), negated(after)) : undefined, undefined];
  },
};
