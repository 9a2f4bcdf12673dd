/** com.microsoft.BiasAdd: X + bias + skip. */
import { MICROSOFT } from "../../graph/types.ts";
import type { OpRule } from "../types.ts";
import { inferLike } from "./support.ts";

export const BiasAdd: OpRule = {
  opType: "BiasAdd",
  domain: MICROSOFT,
  since: 1,
  attributes: [],
  inputs: "3",
  outputs: "1",
  traits: { kind: "other", rows: "elementwise" },

  infer: inferLike("X"),

  lower(b, node) {
    const [x, bias, skip] = node.inputs;
    return [b.op("Add", [b.op("Add", [x, bias]), skip])];
  },
};
