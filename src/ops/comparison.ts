/** Comparisons and Boolean connectives, with broadcasting: bool out, no gradient. */
import { areEqual, isAtMost, plus } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { broadcastDims } from "./broadcast.ts";
import { operands } from "./arithmetic.ts";
import { sameType } from "./args.ts";
import { foldElementwise } from "./fold.ts";
import { elementwise } from "./traits.ts";
import type { OpRule } from "./types.ts";

/** @param ofExtents the same for integers that follow from a batch's sizes */
function comparison(
  opType: string,
  test: (x: number, y: number) => boolean,
  ofExtents?: (x: Extent, y: Extent) => boolean,
): OpRule {
  const extentOf = ofExtents && ((x: Extent, y: Extent) => Number(ofExtents(x, y)));
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
      return [foldElementwise("bool", dims, pair, (x, y) => Number(test(x, y)), extentOf)];
    },
  };
}

const isLess = (x: Extent, y: Extent) => isAtMost(plus(x, 1), y);

export const COMPARISON_RULES: readonly OpRule[] = [
  comparison("Equal", (x, y) => x === y, areEqual),
  comparison("Greater", (x, y) => x > y, (x, y) => isLess(y, x)),
  { ...comparison("GreaterOrEqual", (x, y) => x >= y, (x, y) => isAtMost(y, x)), since: 12 },
  comparison("Less", (x, y) => x < y, isLess),
  { ...comparison("LessOrEqual", (x, y) => x <= y, isAtMost), since: 12 },
  comparison("And", (x, y) => x !== 0 && y !== 0),
  comparison("Or", (x, y) => x !== 0 || y !== 0),
  comparison("Xor", (x, y) => (x !== 0) !== (y !== 0)),
];
