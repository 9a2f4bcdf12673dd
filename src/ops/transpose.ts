/** Transpose. */
import { ints, intsAttribute } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { asDims, extentsOf } from "../graph/extents.ts";
import type { Node } from "../graph/types.ts";
import { label, required } from "./args.ts";
import { range } from "./axes.ts";
import { foldedFrom, sourceIndices, stridesOf } from "./fold.ts";
import { rowByRow, type RowTest } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** Output axis i is input axis perm[i]; reversed if the node does not say. */
function permutation(node: Node, rank: number): readonly number[] {
  const perm = intsAttribute(node, "perm", undefined) ?? range(rank).reverse();
  if (perm.length !== rank || [...perm].sort((x, y) => x - y).some((axis, i) => axis !== i)) {
    throw new RangeError(
      `${label(node)}: perm must order ${rank} axes: current value is [${perm}]`,
    );
  }
  return perm;
}

/**
 * Transposes a matrix. The permutation is always written: without it ONNX Runtime 1.30 ends the process if
 * its optimiser meets a `Transpose` of dequantised values.
 */
export function transpose(b: GraphBuilder, matrix: string): string {
  return b.op("Transpose", [matrix], { perm: ints([1, 0]) });
}

/** The matrix that a node transposes; `undefined` for any other node. */
export function transposedMatrix(node: Node | undefined): string | undefined {
  if (node?.opType !== "Transpose" || node.domain !== "") return undefined;
  return intsAttribute(node, "perm", [1, 0]).join() === "1,0" ? node.inputs[0] : undefined;
}

/** Rows stay if a written permutation leaves the leading axes in place. */
const keepsLeading: RowTest = (node, { lead, leadOf }) => {
  const perm = intsAttribute(node, "perm", undefined);
  const stay = perm?.slice(0, lead).every((axis, i) => axis === i);
  return stay && leadOf(node.inputs[0]) === lead ? "first" : undefined;
};

export const Transpose: OpRule = {
  opType: "Transpose",
  domain: "",
  since: 7,
  attributes: ["perm"],
  inputs: "1",
  outputs: "1",
  traits: rowByRow("movement", keepsLeading, "cheap"),
  infer(node, inputs) {
    const x = required(node, inputs, 0);
    const perm = permutation(node, x.dims.length);
    const shape = extentsOf(x.dims);
    const dims = asDims(perm.map((axis) => shape[axis]));
    return [
      foldedFrom(x.dtype, dims, [x], () => {
        const strides = stridesOf(x.dims);
        return sourceIndices(dims, perm.map((axis) => strides[axis]));
      }),
    ];
  },
  lower(b, node) {
    const perm = permutation(node, b.dims(node.inputs[0]).length);
    if (perm.every((axis, i) => axis === i)) return [node.inputs[0]];
    if (node.attributes.perm !== undefined) return undefined;
    return [b.op("Transpose", [node.inputs[0]], { perm: ints(perm) })]; // see transpose()
  },
  vjp(b, node, [ct]) {
    const perm = permutation(node, b.dims(ct!).length);
    return [b.op("Transpose", [ct!], { perm: ints(perm.map((_, i) => perm.indexOf(i))) })];
  },
};
