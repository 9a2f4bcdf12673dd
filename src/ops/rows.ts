/** Conditions under which operators compute each row by itself ({@linkcode RowTest}). */
import { intAttribute } from "../graph/attributes.ts";
import { elementCount, toNumbers } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import type { RowFacts, RowTest } from "./traits.ts";

/** Whether the first input has its rows on as many axes as the result. */
const keepsAxes = ({ inputs: [x] }: Node, { leadOf, lead }: RowFacts) => leadOf(x) === lead;

/** Rows are those of the first input; each of them is at least its last axis. */
export const rowsOfFirst: RowTest = (node, facts) =>
  keepsAxes(node, facts) && facts.dims(node.inputs[0]).length > facts.lead ? "first" : undefined;

/**
 * The same, if the axis that an attribute names lies behind the leading axes.
 *
 * @param of the operands: the first input, or all of them
 */
export function rowsBefore(
  attribute: string,
  absent: number,
  of: "first" | "all" = "first",
): RowTest {
  return (node, facts) => {
    const { lead, leadOf, dims } = facts;
    const operands = of === "all" ? node.inputs : node.inputs.slice(0, 1);
    const axis = intAttribute(node, attribute, absent);
    const isBehind = (axis < 0 ? axis + dims(node.inputs[0]).length : axis) >= lead;
    return isBehind && operands.every((input) => leadOf(input) === lead) ? of : undefined;
  };
}

/** The same, if all axes that a constant input lists lie behind the leading axes. */
export function rowsBeforeAxes(input: number): RowTest {
  return (node, facts) => {
    const axes = facts.constant(node.inputs[input] ?? "");
    if (!keepsAxes(node, facts) || axes === undefined || elementCount(axes.dims) === 0) {
      return undefined;
    }
    const rank = facts.dims(node.inputs[0]).length;
    const isBehind = Array.from(toNumbers(axes), Number).every((axis) =>
      (axis < 0 ? axis + rank : axis) >= facts.lead
    );
    return isBehind ? "first" : undefined;
  };
}
