/** Comparisons and Boolean connectives, with broadcasting: bool out, no gradient. */
import { broadcastDims } from "./broadcast.ts";
import { operands } from "./arithmetic.ts";
import { sameType } from "./args.ts";
import { foldElementwise } from "./fold.ts";
import { elementwise } from "./traits.ts";
import type { OpRule } from "./types.ts";

function comparison(opType: string, test: (x: number, y: number) => boolean): OpRule {
  return {
    opType,
    domain: "",
    since: 7,
    attributes: [],
    inputs: "2",
    outputs: "1",
    traits: elementwise("other", "costly"),
    infer(node, inputs) {
      const pair = operands(node, inputs);
      sameType(node, pair);
      const dims = broadcastDims(pair[0].dims, pair[1].dims);
      return [foldElementwise("bool", dims, pair, (x, y) => Number(test(x, y)))];
    },
  };
}

export const COMPARISON_RULES: readonly OpRule[] = [
  comparison("Equal", (x, y) => x === y),
  comparison("Greater", (x, y) => x > y),
  { ...comparison("GreaterOrEqual", (x, y) => x >= y), since: 12 },
  comparison("Less", (x, y) => x < y),
  { ...comparison("LessOrEqual", (x, y) => x <= y), since: 12 },
  comparison("And", (x, y) => x !== 0 && y !== 0),
  comparison("Or", (x, y) => x !== 0 || y !== 0),
  comparison("Xor", (x, y) => (x !== 0) !== (y !== 0)),
];
