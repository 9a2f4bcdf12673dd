/** Expand and Tile: copies along axes. */
import type { Known } from "../graph/builder.ts";
import type { Node } from "../graph/types.ts";
import { knownInputs, label, required, requiredExtents, requiredInts } from "./args.ts";
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

function repeats(node: Node, inputs: readonly (Known | undefined)[]): readonly number[] {
  const { dims } = required(node, inputs, 0);
  const out = requiredInts(node, inputs, 1, "repeats");
  if (out.length !== dims.length || out.some((times) => times < 0)) {
    throw new RangeError(
      `${label(node)}: repeats must be one count an axis of [${dims}]: current value is [${out}]`,
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
    const times = repeats(node, inputs);
    const dims = x.dims.map((dim, i) => dim * times[i]);
    return [
      folded(x.dtype, dims, [x], ([value]) => {
        // Each axis as [repeats, dim], of which only the second moves through the source.
        const split = x.dims.flatMap((dim, i) => [times[i], dim]);
        const single = x.dims.flatMap((dim) => [1, dim]);
        return rearranged(value, dims, sourceIndices(split, broadcastStrides(single, split)));
      }),
    ];
  },
  vjp(b, node, [ct]) {
    const dims = b.dims(node.inputs[0]);
    const times = repeats(node, knownInputs(b, node));
    const split = b.reshape(ct!, dims.flatMap((dim, i) => [times[i], dim]));
    const axes = times.flatMap((count, i) => count === 1 ? [] : [2 * i]);
    const summed = axes.length === 0 ? split : sum(b, split, axes);
    return [b.reshape(summed, dims), undefined];
  },
};
