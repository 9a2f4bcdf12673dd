/** Shape and Size: always constants, since all dimensions are known, though not always as numbers. */
import { intAttribute } from "../graph/attributes.ts";
import { extentsOf, int64Of } from "../graph/extents.ts";
import { productOf } from "../graph/extent_arithmetic.ts";
import { required } from "./args.ts";
import { mixed } from "./traits.ts";
import type { OpRule } from "./types.ts";

export const Shape: OpRule = {
  opType: "Shape",
  domain: "",
  since: 7,
  attributes: ["end", "start"],
  inputs: "1",
  outputs: "1",
  traits: mixed("shape"),
  infer(node, inputs) {
    const shape = extentsOf(required(node, inputs, 0).dims);
    const out = shape.slice(
      intAttribute(node, "start", 0),
      intAttribute(node, "end", shape.length),
    );
    return [{ dtype: "int64", dims: [out.length], value: int64Of([out.length], out) }];
  },
};

export const Size: OpRule = {
  opType: "Size",
  domain: "",
  since: 7,
  attributes: [],
  inputs: "1",
  outputs: "1",
  traits: mixed("shape"),
  infer(node, inputs) {
    const count = productOf(extentsOf(required(node, inputs, 0).dims));
    return [{ dtype: "int64", dims: [], value: int64Of([], [count]) }];
  },
};
