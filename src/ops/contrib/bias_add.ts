/** com.microsoft.BiasAdd: X + bias + skip. */
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { inferLike, onlyAttributes } from "./support.ts";

export const biasAdd: OpRule = {
  opType: "BiasAdd",
  domain: MICROSOFT,
  traits: { kind: "other", rows: "elementwise" },

  infer: inferLike("X"),

  lower(b, node) {
    onlyAttributes(node, []);
    const [x, bias, skip] = node.inputs;
    return [b.op("Add", [b.op("Add", [x, bias]), skip])];
  },
};
