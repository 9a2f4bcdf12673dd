/** What the rules of linear layers with packed weights share: MatMulNBits and MatMulBnb4. */
import { asDims, extentsOf } from "../../graph/extents.ts";
import { intAttribute } from "../../graph/attributes.ts";
import { type Node, operatorName } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { requiredKnown } from "./support.ts";

/** A required integer attribute that is a size. */
function size(node: Node, name: string): number {
  const value = intAttribute(node, name, undefined);
  if (value === undefined || value < 1) {
    throw new RangeError(
      `Attribute "${name}" of ${
        operatorName(node)
      } "${node.name}" must be >= 1: current value is ${value}`,
    );
  }
  return value;
}

/** Sizes of the weight [rows, columns] and its blocks, from the node's attributes. */
export const packedSizes = (node: Node) => ({
  rows: size(node, "N"),
  columns: size(node, "K"),
  blockSize: size(node, "block_size"),
});

/** Shape inference: `A` with N columns. */
export const inferPackedLinear: OpRule["infer"] = (node, inputs) => {
  const a = requiredKnown(node, "A", inputs, 0);
  return [{ dtype: a.dtype, dims: asDims([...extentsOf(a.dims).slice(0, -1), size(node, "N")]) }];
};
