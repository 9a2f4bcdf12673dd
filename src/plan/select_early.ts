/**
 * Chooses the target rows before the operators at a model's end that treat tokens one by one: in the last
 * block, everything after attention then computes only these rows.
 */
import { int } from "../graph/attributes.ts";
import { producersOf, readersOf, shapeIn } from "../graph/facts.ts";
import { isAtMost, productOf, settled, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import { prune } from "../graph/passes/prune.ts";
import type { Graph, Node } from "../graph/types.ts";
import type { BatchShape } from "./inputs.ts";
import { RowSubset } from "./row_subset.ts";
import { TARGET_ROWS } from "./select_rows.ts";
import { TokenRows } from "./token_rows.ts";

/**
 * Most numbers per row that are chosen, as a multiple of the hidden state: the residual stream and an update
 * of it.
 */
const MOST_WIDTH = 2;

/**
 * @param lowered graph of known shapes, in which one Gather chooses the target rows
 * @param rows target rows, padding included
 * @param trainable initializers that training changes, from which nothing may be folded
 * @returns the same graph where the rows cannot be chosen earlier
 */
export function selectEarly(
  lowered: Graph,
  shape: BatchShape,
  rows: Extent,
  trainable: ReadonlySet<string>,
): Graph {
  const gather = lowered.nodes.find(({ opType, inputs }) =>
    opType === "Gather" && inputs[1] === TARGET_ROWS
  );
  // As many target rows as positions: nothing is gained.
  if (gather === undefined || isAtMost(times(shape.batch, shape.length), rows)) return lowered;
  const tokens = new TokenRows(lowered, shape);
  const crossed = crossable(lowered, tokens, gather);
  if (crossed.size === 0) return lowered;
  const reduced = new RowSubset(lowered, shape, {
    tokens,
    trainable,
    rows,
    choose: (b, flat) => b.op("Gather", [flat, TARGET_ROWS], { axis: int(0) }),
    suffix: ".targets",
  });
  const { b } = reduced;
  // The Gather's input now holds only its rows.
  const renamed = (name: string) => name === gather.outputs[0] ? gather.inputs[0] : name;
  for (const node of lowered.nodes) {
    const operands = crossed.get(node);
    if (operands !== undefined) reduced.addReduced(node, operands);
    else if (node !== gather) b.add({ ...node, inputs: node.inputs.map(renamed), rest: undefined });
  }
  return prune(b.build(lowered.name, lowered.outputs.map(({ name }) => renamed(name))));
}

/**
 * The nodes before the gather that can compute only its rows, with their operands: as far back as few enough
 * numbers per row enter them.
 */
function crossable(
  lowered: Graph,
  tokens: TokenRows,
  gather: Node,
): ReadonlyMap<Node, readonly string[]> {
  const readers = readersOf(lowered);
  const producers = producersOf(lowered.nodes);
  const order = new Map(lowered.nodes.map((node, i) => [node, i]));
  const [hidden] = gather.inputs;
  if (tokens.leadOf(hidden) === undefined) return new Map();
  const widthOf = (value: string) =>
    settled(productOf(shapeIn(lowered, value).slice(tokens.leadingAxes(value))));
  const most = MOST_WIDTH * widthOf(hidden);
  const entering = new Set([hidden]);
  const crossed = new Map<Node, readonly string[]>();
  const isCrossed = (reader: Node | undefined) =>
    reader === gather || reader !== undefined && crossed.has(reader);
  let best = 0;
  while (true) {
    const next = [...entering].map((value) => producers.get(value)).filter((node) => {
      if (node === undefined) return false;
      const operands = tokens.operandsOf(node);
      return operands !== undefined && operands.every((value) => tokens.leadOf(value)) &&
        node.outputs.every((output) => (readers.get(output) ?? []).every(isCrossed));
    }).sort((a, c) => order.get(c!)! - order.get(a!)!)[0];
    if (next === undefined) break;
    const operands = tokens.operandsOf(next)!;
    crossed.set(next, operands);
    for (const output of next.outputs) entering.delete(output);
    for (const operand of operands) entering.add(operand);
    const width = [...entering].reduce((sum, value) => sum + widthOf(value), 0);
    if (width <= most) best = crossed.size;
  }
  return new Map([...crossed].slice(0, best));
}
