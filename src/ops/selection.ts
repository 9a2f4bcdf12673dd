/** ArgMax, ArgMin, TopK, OneHot and NonZero: indices out (or in); only TopK's values have a gradient. */
import { intAttribute } from "../graph/attributes.ts";
import type { Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { isAtMost } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { int64, toNumbers } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { knownInputs, label, required, requiredExtents, unsupported } from "./args.ts";
import { normalizeAxis } from "./axes.ts";
import { stridesOf } from "./fold.ts";
import { scatterAdd } from "./gather.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

function arg(opType: string): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: ["axis", "keepdims", "select_last_index"],
    inputs: "1",
    outputs: "1",
    traits: mixed("other"),
    infer(node, inputs) {
      const shape = extentsOf(required(node, inputs, 0).dims);
      const axis = normalizeAxis(node, intAttribute(node, "axis", 0), shape.length);
      const kept = shape.map((dim, i) => i === axis ? 1 : dim);
      const keep = intAttribute(node, "keepdims", 1) === 1;
      const dims = asDims(keep ? kept : kept.filter((_, i) => i !== axis));
      return [{ dtype: "int64", dims }];
    },
  };
}

/** `k` is an attribute before operator set 10. */
function topCount(node: Node, inputs: readonly (Known | undefined)[]): Extent {
  return intAttribute(node, "k", undefined) ?? requiredExtents(node, inputs, 1, "K")[0];
}

const TopK: OpRule = {
  opType: "TopK",
  domain: "",
  since: 7,
  attributes: ["axis", "k", "largest", "sorted"],
  inputs: "1..2",
  outputs: "2",
  traits: mixed("other"),
  infer(node, inputs) {
    const { dtype, dims } = required(node, inputs, 0);
    const shape = extentsOf(dims);
    const axis = normalizeAxis(node, intAttribute(node, "axis", -1), shape.length);
    const k = topCount(node, inputs);
    if (isAtMost(k, -1) || !isAtMost(k, shape[axis])) {
      throw new RangeError(
        `${label(node)}: K must be in [0, ${shape[axis]}]: current value is ${k}`,
      );
    }
    const out = asDims(shape.map((dim, i) => i === axis ? k : dim));
    return [{ dtype, dims: out }, { dtype: "int64", dims: out }];
  },
  /** The count moves from the attribute to the input; the indices are computed even if nobody reads them. */
  lower(b, node) {
    const { k: _, ...attributes } = node.attributes;
    const count = b.int64s([topCount(node, knownInputs(b, node))]);
    return b.ops("TopK", [node.inputs[0], count], 2, attributes);
  },
  /** Each value's cotangent goes where the value came from. */
  vjp(b, node, [ct], [wanted]) {
    if (ct === undefined || !wanted) return [undefined, undefined];
    const shape = b.shape(node.inputs[0]);
    const axis = normalizeAxis(node, intAttribute(node, "axis", -1), shape.length);
    return [scatterAdd(b, shape, node.outputs[1], ct, axis), undefined];
  },
};

const OneHot: OpRule = {
  opType: "OneHot",
  domain: "",
  since: 9,
  attributes: ["axis"],
  inputs: "3",
  outputs: "1",
  traits: mixed("other"),
  infer(node, inputs) {
    const shape = extentsOf(required(node, inputs, 0).dims);
    const [depth] = requiredExtents(node, inputs, 1, "depth");
    const axis = normalizeAxis(node, intAttribute(node, "axis", -1), shape.length + 1);
    const dims = asDims([...shape.slice(0, axis), depth, ...shape.slice(axis)]);
    return [{ dtype: required(node, inputs, 2).dtype, dims }];
  },
};

/** How many there are is known for constants only. */
const NonZero: OpRule = {
  opType: "NonZero",
  domain: "",
  since: 9,
  attributes: [],
  inputs: "1",
  outputs: "1",
  remark: "of constants",
  traits: mixed("other"),
  infer(node, inputs) {
    const { dims, value } = required(node, inputs, 0);
    if (value === undefined) {
      throw unsupported(node, "how many elements are not zero depends on data");
    }
    const strides = stridesOf(dims);
    const found = Array.from(toNumbers(value)).flatMap((x, i) => x === 0 ? [] : [i]);
    const indices = dims.flatMap((dim, axis) =>
      found.map((i) => Math.floor(i / strides[axis]) % dim)
    );
    const out = [dims.length, found.length];
    return [{ dtype: "int64", dims: out, value: int64(out, indices) }];
  },
};

export const SELECTION_RULES: readonly OpRule[] = [
  arg("ArgMax"),
  arg("ArgMin"),
  TopK,
  OneHot,
  NonZero,
];
