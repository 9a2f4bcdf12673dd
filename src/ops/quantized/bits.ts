/** BitwiseAnd and BitShift, with which packed weights are unpacked: integers, no gradient. */
import { broadcastDims } from "../broadcast.ts";
import { elementwise } from "../traits.ts";
import type { OpRule } from "../types.ts";
import { requiredKnown } from "../contrib/support.ts";

const rule = (opType: string, since: number, names: readonly [string, string]): OpRule => ({
  opType,
  domain: "",
  since,
  attributes: ["direction"],
  inputs: "2",
  outputs: "1",
  traits: elementwise("other", "costly"),
  infer(node, inputs) {
    const x = requiredKnown(node, names[0], inputs, 0);
    const y = requiredKnown(node, names[1], inputs, 1);
    return [{ dtype: x.dtype, dims: broadcastDims(x.dims, y.dims) }];
  },
});

export const BitShift: OpRule = rule("BitShift", 11, ["X", "Y"]);
export const BitwiseAnd: OpRule = rule("BitwiseAnd", 18, ["A", "B"]);
