/** Reshape and the operators that only rename dimensions; for training all become Reshape. */
import { intAttribute, intsAttribute } from "../graph/attributes.ts";
import type { Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { reshaped } from "../graph/reshaped.ts";
import { areEqual, over, productOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { stopsGradient } from "../graph/stop_gradient.ts";
import { knownInputs, label, required, requiredExtents } from "./args.ts";
import { axesOf, normalizeAxes, normalizeAxis } from "./axes.ts";
import { emitStopGradient } from "./internal/stop_gradient.ts";
import { VIEW } from "./traits.ts";
import type { Count, OpRule, OpsetContext, TrainingRule } from "./types.ts";

type Inputs = readonly (Known | undefined)[];

/** The same bytes with other dimensions: a constant stays one, however large. */
function renamed(x: Known, shape: readonly Extent[]): Known {
  const { dtype, value } = x;
  const dims = asDims(shape);
  return value === undefined ? { dtype, dims } : { dtype, dims, value: reshaped(value, dims) };
}

function reshapeDims(node: Node, inputs: Inputs): readonly Extent[] {
  const dims = extentsOf(required(node, inputs, 0).dims);
  const shape = intsAttribute(node, "shape", undefined) ??
    requiredExtents(node, inputs, 1, "shape");
  const allowZero = intAttribute(node, "allowzero", 0) === 1;
  const out = shape.map((dim, i) => dim === 0 && !allowZero ? dims[i] : dim);
  const rest = out.indexOf(-1);
  const fail = () => new RangeError(`${label(node)} cannot give [${dims}] the shape [${shape}]`);
  if (rest >= 0) {
    const others = productOf(out.filter((_, i) => i !== rest));
    const left = others === 0 ? 0 : over(productOf(dims), others);
    if (left === undefined) throw fail();
    out[rest] = left;
  }
  const isWrong = (dim: Extent) => typeof dim === "number" && !(Number.isInteger(dim) && dim >= 0);
  if (out.some(isWrong) || !areEqual(productOf(out), productOf(dims))) throw fail();
  return out;
}

function flattenDims(node: Node, inputs: Inputs): readonly Extent[] {
  const dims = extentsOf(required(node, inputs, 0).dims);
  const axis = intAttribute(node, "axis", 1);
  // Only here may an axis equal the rank.
  const at = axis === dims.length ? axis : normalizeAxis(node, axis, dims.length);
  return [productOf(dims.slice(0, at)), productOf(dims.slice(at))];
}

function squeezeDims(node: Node, inputs: Inputs): readonly Extent[] {
  const dims = extentsOf(required(node, inputs, 0).dims);
  const given = axesOf(node, inputs);
  const axes = given === undefined
    ? dims.flatMap((dim, i) => dim === 1 ? [i] : [])
    : normalizeAxes(node, given, dims.length);
  const wrong = axes.find((axis) => dims[axis] !== 1);
  if (wrong !== undefined) {
    throw new RangeError(`${label(node)}: axis ${wrong} of [${dims}] must be 1 to be removed`);
  }
  return dims.filter((_, i) => !axes.includes(i));
}

function unsqueezeDims(node: Node, inputs: Inputs): readonly Extent[] {
  const dims = extentsOf(required(node, inputs, 0).dims);
  const given = axesOf(node, inputs) ?? [];
  const axes = normalizeAxes(node, given, dims.length + given.length);
  const out = [...dims];
  for (const axis of axes) out.splice(axis, 0, 1);
  return out;
}

function renaming(
  opType: string,
  attributes: readonly string[],
  inputs: Count,
  outputDims: (node: Node, inputs: Inputs, context: OpsetContext) => readonly Extent[],
): TrainingRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes,
    inputs,
    outputs: "1",
    traits: VIEW,
    infer: (node, inputs, context) => [
      renamed(required(node, inputs, 0), outputDims(node, inputs, context)),
    ],
    lower(b, node, context) {
      return [b.reshape(node.inputs[0], outputDims(node, knownInputs(b, node), context))];
    },
  };
}

const Reshape: OpRule = {
  ...renaming("Reshape", ["allowzero", "shape"], "1..2", reshapeDims),
  // Leading axes of both are the same rows, on however many axes each has them.
  traits: {
    ...VIEW,
    rows: ({ inputs: [x] }, { leadOf }) => leadOf(x) === undefined ? undefined : "first",
  },
  vjp: (b, node, [ct]) => [b.reshape(ct!, b.dims(node.inputs[0])), undefined],
};

const Identity: OpRule = {
  opType: "Identity",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "1",
  outputs: "1",
  traits: { ...VIEW, rows: "elementwise" },
  infer: (node, inputs) => [required(node, inputs, 0)],
  lower: (b, node) => {
    const [x] = node.inputs;
    return [stopsGradient(node) ? emitStopGradient(b, x) : x];
  },
};

export const RESHAPE_RULES: readonly OpRule[] = [
  Reshape,
  renaming("Flatten", ["axis"], "1", flattenDims),
  renaming("Squeeze", ["axes"], "1..2", squeezeDims),
  renaming("Unsqueeze", ["axes"], "1..2", unsqueezeDims),
  Identity,
];
