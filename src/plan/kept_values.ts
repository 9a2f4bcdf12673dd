/** Which activations a backward call takes from its forward call instead of recomputing them. */
import { countIn, producersOf, shapeIn } from "../graph/facts.ts";
import { isAtMost, largest, plus, productOf, sumOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Graph, Node } from "../graph/types.ts";
import { kindOf, traitsOf } from "../ops/registry.ts";
import type { Segment } from "./cut.ts";
import { PACKED, SHARED } from "./names.ts";

/** Values of a segment that are kept. */
export interface KeptValues {
  readonly kept: ReadonlySet<string>;
  /** Those read by products of two activations, as in attention. */
  readonly attended: ReadonlySet<string>;
}

export const NOTHING_KEPT: KeptValues = { kept: new Set(), attended: new Set() };

/** What {@linkcode keptValues} needs from a plan. */
interface Context {
  readonly lowered: Graph;
  /** Values that depend only on initializers. */
  readonly constants: ReadonlySet<string>;
}

/**
 * Whether recomputing a node from kept values costs little compared with the products around it. Packing and
 * unpacking are cheap, other lookups are not: they may read the whole vocabulary.
 */
function isCheap(node: Node): boolean {
  const isPacking = node.opType === "Gather" &&
    [PACKED, SHARED].some(({ positions }) => node.inputs[1] === positions);
  return traitsOf(node).again === "cheap" || isPacking || isUnpacking(node);
}

function isUnpacking({ opType, inputs: [, indices] }: Node): boolean {
  return opType === "PickRows" ||
    opType === "Gather" && [PACKED, SHARED].some(({ rows }) => rows === indices);
}

/**
 * Activations to keep so that everything the derivatives read is available, or cheap to compute from them.
 *
 * @param derivative the nodes of the backward pass
 */
export function keptValues(
  context: Context,
  segment: Segment,
  derivative: readonly Node[],
): KeptValues {
  const { lowered, constants } = context;
  const producers = producersOf(segment.nodes);
  const scores = scoresOf(context, segment, producers);
  const isAgain = (node: Node) => isCheap(node) || scores.has(node);
  const kept = new Set<string>();
  const given = (value: string) => !producers.has(value) || constants.has(value) || kept.has(value);
  /** Values to keep so that `value` can be computed by cheap operators alone. */
  const leavesOf = (value: string): Set<string> => {
    const found = new Set<string>();
    // Visits each value once: chains may be as long as a model, and a value read twice would repeat
    // everything before it.
    const seen = new Set([value]);
    for (const at of seen) {
      if (given(at)) continue;
      const node = producers.get(at)!;
      if (!isAgain(node)) found.add(at);
      else for (const input of node.inputs) if (input !== "") seen.add(input);
    }
    return found;
  };
  /**
   * Goes back along a chain of cheap operators to the smallest value, and always to packed rows: whether they
   * are more than a part of the positions depends on the batch. Parts of a split are kept separately.
   */
  const smallest = (value: string): string => {
    const node = producers.get(value)!;
    const inputs = node.inputs.filter((input) => input !== "" && producers.has(input));
    const [only] = inputs.filter((input) => !constants.has(input));
    if (!isAgain(node) || inputs.length !== 1 || only === undefined) return value;
    return isUnpacking(node) || isAtMost(sizeOf(lowered, [only]), sizeOf(lowered, [value]))
      ? smallest(only)
      : value;
  };
  /** One number per row: cheaper to keep than to recompute. */
  const isStatistic = (value: string) => {
    const shape = shapeIn(lowered, value);
    return shape.length > 1 && shape.at(-1) === 1;
  };
  const read = new Set(derivative.flatMap((node) => node.inputs));
  // Earlier values first: what is kept for them also serves later ones.
  for (const node of segment.nodes) {
    for (const value of node.outputs) {
      if (!read.has(value)) continue;
      const missing = leavesOf(value);
      if (isStatistic(value) && !given(value)) kept.add(value);
      else if (missing.size === 1) kept.add([...missing][0]);
      else if (missing.size > 1) kept.add(smallest(value));
    }
  }
  const attending = segment.nodes.filter((node) => isProductOfActivations(context, node));
  return { kept, attended: sourcesOf(attending, kept, producers) };
}

/**
 * Products of two activations that are larger than both together, such as attention's scores of long
 * sequences, and what is computed from them row by row: recomputing them is cheaper than the room that they
 * would take from other values. All blocks of one attention are counted together, as one product.
 */
function scoresOf(
  context: Context,
  segment: Segment,
  producers: ReadonlyMap<string, Node>,
): ReadonlySet<Node> {
  const { lowered } = context;
  const attentions = new Map<string, Node[]>();
  const attentionOf = (node: Node) => `${node.inputs.map((input) => pickedFrom(input, producers))}`;
  for (const node of segment.nodes) {
    if (!isProductOfActivations(context, node)) continue;
    const key = attentionOf(node);
    attentions.set(key, [...attentions.get(key) ?? [], node]);
  }
  const found = new Set<Node>();
  for (const node of segment.nodes) {
    const isScores = isProductOfActivations(context, node)
      ? isLarger(lowered, attentions.get(attentionOf(node))!)
      : node.inputs.some((input) => found.has(producers.get(input)!)) &&
        (isCheap(node) || traitsOf(node).again === "moderate");
    if (isScores) found.add(node);
  }
  return found;
}

/**
 * Whether products of parts of two activations, taken as one product of all rows, would be larger than both.
 */
function isLarger(lowered: Graph, products: readonly Node[]): boolean {
  const shapes = products.map(({ outputs: [y] }) => shapeIn(lowered, y));
  const width = largest(shapes.map((shape) => shape.at(-1)!));
  const rows = sumOf(shapes.map((shape) => productOf(shape.slice(0, -1))));
  const left = products.map(({ inputs: [x] }) => x);
  const right = products.map(({ inputs: [, x] }) => sizeOf(lowered, [x]));
  return !isAtMost(times(rows, width), plus(sizeOf(lowered, left), largest(right)));
}

/** The value that another, possibly multiplied by a number, was picked from; otherwise the value itself. */
function pickedFrom(value: string, producers: ReadonlyMap<string, Node>): string {
  const node = producers.get(value);
  const scaled = node?.opType === "Mul" ? producers.get(node.inputs[0]) : node;
  return scaled?.opType === "PickRows" ? scaled.inputs[0] : value;
}

/** Whether a node is a product of two activations, as in attention. */
export function isProductOfActivations(
  { constants }: Pick<Context, "constants">,
  node: Node,
): boolean {
  return kindOf(node) === "product" && !node.inputs.some((input) => constants.has(input));
}

/** The kept values that `nodes` are computed from. */
function sourcesOf(
  nodes: readonly Node[],
  kept: ReadonlySet<string>,
  producers: ReadonlyMap<string, Node>,
): Set<string> {
  const seen = new Set<string>();
  const visit = (value: string) => {
    if (seen.has(value)) return;
    seen.add(value);
    if (!kept.has(value)) producers.get(value)?.inputs.forEach(visit);
  };
  for (const node of nodes) node.inputs.forEach(visit);
  return new Set([...seen].filter((value) => kept.has(value)));
}

function sizeOf(lowered: Graph, values: readonly string[]): Extent {
  return sumOf(values.map((value) => countIn(lowered, value)));
}
