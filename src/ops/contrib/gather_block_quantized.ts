/** com.microsoft.GatherBlockQuantized: rows of a block-wise quantised table, dequantised. */
import { asDims, extentsOf } from "../../graph/extents.ts";
import { times } from "../../graph/extent_arithmetic.ts";
import { intAttribute } from "../../graph/attributes.ts";
import { MICROSOFT, type Node } from "../../graph/types.ts";
import { mixed } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { refuse, requiredKnown } from "./support.ts";

/** Axes counted from the front, and how many values a byte of the data holds. */
function layout(node: Node, rank: number, dtype: string) {
  const axis = (name: string, fallback: number) => {
    const value = intAttribute(node, name, fallback);
    return value < 0 ? value + rank : value;
  };
  const bits = intAttribute(node, "bits", 4);
  return {
    gatherAxis: axis("gather_axis", 0),
    quantizeAxis: axis("quantize_axis", 1),
    bits,
    perByte: dtype === "uint8" ? 8 / bits : 1,
  };
}

export const GatherBlockQuantized: OpRule = {
  opType: "GatherBlockQuantized",
  domain: MICROSOFT,
  since: 1,
  attributes: ["bits", "block_size", "gather_axis", "quantize_axis"],
  inputs: "3..4",
  outputs: "1",
  remark: "int4, uint4 and uint8 tables, which stay frozen",
  traits: mixed("packed lookup"),

  infer(node, inputs) {
    const data = requiredKnown(node, "data", inputs, 0);
    const indices = requiredKnown(node, "indices", inputs, 1);
    const scales = requiredKnown(node, "scales", inputs, 2);
    if (!["uint8", "int4", "uint4"].includes(data.dtype)) {
      refuse(node, `input "data" of type ${data.dtype}`);
    }
    const { gatherAxis, perByte } = layout(node, data.dims.length, data.dtype);
    const shape = [...extentsOf(data.dims)];
    shape[shape.length - 1] = times(shape[shape.length - 1], perByte);
    shape.splice(gatherAxis, 1, ...extentsOf(indices.dims));
    return [{ dtype: scales.dtype, dims: asDims(shape) }];
  },

  /** The table is frozen and indices are integers: nothing has a gradient. */
  vjp: (_b, node) => node.inputs.map(() => undefined),
};
