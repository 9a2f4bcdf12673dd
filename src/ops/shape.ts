/** Shape and Size: always constants, since all dimensions are known. */
import { intAttribute } from "../graph/attributes.ts";
import { elementCount, int64 } from "../graph/tensor.ts";
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
    const { dims } = required(node, inputs, 0);
    const out = dims.slice(
      intAttribute(node, "start", 0),
      intAttribute(node, "end", dims.length),
    );
    return [{ dtype: "int64", dims: [out.length], value: int64([out.length], out) }];
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
    const { dims } = required(node, inputs, 0);
    return [{ dtype: "int64", dims: [], value: int64([], [elementCount(dims)]) }];
  },
};
