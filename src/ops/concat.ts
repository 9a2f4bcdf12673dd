/** Concat and its inverse, Split. */
import { int, intAttribute, intsAttribute } from "../graph/attributes.ts";
import type { GraphBuilder, Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { areEqual, over, plus, settled, sumOf } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { knownInputs, label, required, requiredExtents, sameType } from "./args.ts";
import { normalizeAxis, product } from "./axes.ts";
import { zeros } from "./broadcast.ts";
import { foldedFrom, sourceIndices, stridesOf } from "./fold.ts";
import { sliceAxis } from "./slice.ts";
import { rowsBefore } from "./rows.ts";
import { rowByRow } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** For each element of the joined tensor, its index in the concatenated operands. */
function joinedSources(shapes: readonly (readonly number[])[], axis: number): number[] {
  const out: number[] = [];
  const outer = product(shapes[0], 0, axis);
  const rows = shapes.map((dims) => product(dims, axis));
  let start = 0;
  const starts = rows.map((row) => (start += outer * row) - outer * row);
  for (let i = 0; i < outer; i++) {
    rows.forEach((row, operand) => {
      for (let j = 0; j < row; j++) out.push(starts[operand] + i * row + j);
    });
  }
  return out;
}

/** `axis` must be given from operator set 4 on; older ones joined axis 1. */
const joinAxis = (node: Node, rank: number) =>
  normalizeAxis(node, intAttribute(node, "axis", 1), rank);

export const Concat: OpRule = {
  opType: "Concat",
  domain: "",
  since: 7,
  attributes: ["axis"],
  inputs: "1..",
  outputs: "1",
  traits: rowByRow("other", rowsBefore("axis", 0, "all"), "cheap"),
  infer(node, inputs) {
    const all = inputs.map((_, i) => required(node, inputs, i));
    const shapes = all.map(({ dims }) => extentsOf(dims));
    const axis = joinAxis(node, shapes[0].length);
    const joined = [...shapes[0]];
    for (const other of shapes.slice(1)) {
      if (
        other.length !== joined.length ||
        other.some((extent, i) => i !== axis && !areEqual(extent, joined[i]))
      ) {
        throw new RangeError(
          `${label(node)}: shapes do not join along axis ${axis}: ${
            shapes.map((shape) => `[${shape}]`).join(", ")
          }`,
        );
      }
      joined[axis] = plus(joined[axis], other[axis]);
    }
    const sources = () => joinedSources(all.map(({ dims }) => dims), axis);
    return [foldedFrom(sameType(node, all), asDims(joined), all, sources)];
  },
  lower: (_b, node) => node.inputs.length === 1 ? [node.inputs[0]] : undefined,
  vjp(b, node, [ct], wanted) {
    const axis = joinAxis(node, b.dims(ct!).length);
    let at: Extent = 0;
    return node.inputs.map((name, i) => {
      const from = at;
      at = plus(at, b.shape(name)[axis]);
      return wanted[i] ? sliceAxis(b, ct!, axis, from, at) : undefined;
    });
  },
};

/** Sizes of the parts: from the input (13), the attribute (before), or as equal as they can be. */
function splitSizes(
  node: Node,
  inputs: readonly (Known | undefined)[],
): { readonly axis: number; readonly sizes: readonly Extent[] } {
  const shape = extentsOf(required(node, inputs, 0).dims);
  const axis = normalizeAxis(node, intAttribute(node, "axis", 0), shape.length);
  const given = intsAttribute(node, "split", undefined) ??
    (inputs[1] && requiredExtents(node, inputs, 1, "split"));
  const sizes = given ??
    evenSizes(shape[axis], intAttribute(node, "num_outputs", node.outputs.length));
  const isNegative = (size: Extent) => typeof size === "number" && size < 0;
  if (sizes.some(isNegative) || !areEqual(sumOf(sizes), shape[axis])) {
    throw new RangeError(
      `${label(node)}: sizes must add up to ${shape[axis]}: current value is [${sizes}]`,
    );
  }
  return { axis, sizes };
}

/** Parts of one size, except for the last if they do not come out even. */
function evenSizes(count: Extent, parts: number): readonly Extent[] {
  const even = over(count, parts);
  if (even !== undefined) return new Array(parts).fill(even);
  const all = settled(count);
  const chunk = Math.ceil(all / parts);
  return Array.from({ length: parts }, (_, i) => Math.max(0, Math.min(chunk, all - i * chunk)));
}

function splitKnown(x: Known, axis: number, from: Extent, size: Extent): Known {
  const dims = asDims(extentsOf(x.dims).map((extent, i) => i === axis ? size : extent));
  return foldedFrom(x.dtype, dims, [x], () => {
    const strides = stridesOf(x.dims);
    return sourceIndices(dims, strides, settled(from) * strides[axis]);
  });
}

function partOrZeros(b: GraphBuilder, part: string | undefined, like: string): string {
  return part ?? zeros(b, b.known(like).dtype, b.dims(like));
}

/** Splits an axis into parts of equal size, which takes one number however many parts there are. */
export function parts(
  b: GraphBuilder,
  value: string,
  axis: number,
  count: number,
): readonly string[] {
  if (count === 1) return [value];
  return b.ops("Split", [value], count, { axis: int(axis), num_outputs: int(count) });
}

/** Number of sizes above which a list of them would be fed to sessions like a weight. */
const MOST_SIZES = 128;

export const Split: OpRule = {
  opType: "Split",
  domain: "",
  since: 7,
  attributes: ["axis", "num_outputs", "split"],
  inputs: "1..2",
  outputs: "1..",
  traits: rowByRow("movement", rowsBefore("axis", 0), "cheap"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const { axis, sizes } = splitSizes(node, inputs);
    let at: Extent = 0;
    return sizes.map((size) => {
      const from = at;
      at = plus(from, size);
      return splitKnown(x, axis, from, size);
    });
  },
  /** Parts that nothing needs are not made. */
  lower(b, node, { needed }) {
    const { axis, sizes } = splitSizes(node, knownInputs(b, node));
    if (needed.every(Boolean) && sizes.length > 1 && node.outputs.every((name) => name !== "")) {
      const isEven = sizes.every((size) => size === sizes[0]);
      if (sizes.length > MOST_SIZES && isEven) return parts(b, node.inputs[0], axis, sizes.length);
      const split = b.int64s(sizes);
      return b.ops("Split", [node.inputs[0], split], sizes.length, { axis: int(axis) });
    }
    let at: Extent = 0;
    return sizes.map((size, i) => {
      const from = at;
      at = plus(from, size);
      return needed[i] ? sliceAxis(b, node.inputs[0], axis, from, at) : "";
    });
  },
  vjp(b, node, cotangents) {
    const { axis } = splitSizes(node, knownInputs(b, node));
    const parts = node.outputs.map((name, i) => partOrZeros(b, cotangents[i], name))
      .filter((part) => !b.shape(part).includes(0) || cotangents.length === 1);
    if (parts.length === 0) {
      return [zeros(b, b.known(node.inputs[0]).dtype, b.dims(node.inputs[0]))];
    }
    return [parts.length === 1 ? parts[0] : b.op("Concat", parts, { axis: int(axis) }), undefined];
  },
};
