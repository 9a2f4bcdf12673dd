/** Expand and Tile: copies along axes. */
import type { Known } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import { isAtMost, settled, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Node } from "../graph/types.ts";
import { knownInputs, label, required, requiredExtents } from "./args.ts";
import { broadcastDims, reduceTo, sameDims, sum } from "./broadcast.ts";
import { broadcastStrides, folded, foldedFrom, rearranged, sourceIndices } from "./fold.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

function expandDims(node: Node, inputs: readonly (Known | undefined)[]): readonly number[] {
  return broadcastDims(required(node, inputs, 0).dims, requiredExtents(node, inputs, 1, "shape"));
}

export const Expand: OpRule = {
  opType: "Expand",
  domain: "",
  since: 8,
  attributes: [],
  inputs: "2",
  outputs: "1",
  traits: { ...mixed("movement"), again: "cheap" },
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const dims = expandDims(node, inputs);
    return [
      foldedFrom(
        x.dtype,
        dims,
        [x],
        () => sourceIndices(dims, broadcastStrides(x.dims, dims)),
      ),
    ];
  },
  lower(b, node) {
    const dims = expandDims(node, knownInputs(b, node));
    return sameDims(b.dims(node.inputs[0]), dims) ? [node.inputs[0]] : undefined;
  },
  vjp: (b, node, [ct]) => [reduceTo(b, ct!, b.dims(node.inputs[0])), undefined],
};

function repeats(node: Node, inputs: readonly (Known | undefined)[]): readonly Extent[] {
  const { dims } = required(node, inputs, 0);
  const out = requiredExtents(node, inputs, 1, "repeats");
  if (out.length !== dims.length || out.some((count) => isAtMost(count, -1))) {
    throw new RangeError(
      `${label(node)}: repeats must be one count an axis of [${
        extentsOf(dims)
      }]: current value is [${out}]`,
    );
  }
  return out;
}

export const Tile: OpRule = {
  opType: "Tile",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "2..3",
  outputs: "1",
  traits: mixed("movement"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const counts = repeats(node, inputs);
    const dims = asDims(extentsOf(x.dims).map((dim, i) => times(dim, counts[i])));
    return [
      folded(x.dtype, dims, [x], ([value]) => {
        // Each axis as [repeats, dim], of which only the second moves through the source.
        const split = x.dims.flatMap((dim, i) => [settled(counts[i]), dim]);
        const single = x.dims.flatMap((dim) => [1, dim]);
        return rearranged(value, dims, sourceIndices(split, broadcastStrides(single, split)));
      }),
    ];
  },
  vjp(b, node, [ct]) {
    const dims = b.shape(node.inputs[0]);
    const counts = repeats(node, knownInputs(b, node));
    const split = b.reshape(ct!, dims.flatMap((dim, i) => [counts[i], dim]));
    const axes = counts.flatMap((count, i) => count === 1 ? [] : [2 * i]);
    const summed = axes.length === 0 ? split : sum(b, split, axes);
    return [b.reshape(summed, dims), undefined];
  },
};
