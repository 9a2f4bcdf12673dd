/**
 * Cuts a lowered graph into segments at values where exactly one activation is live.
 *
 * In a residual network these are the residual stream before and after each half block, so the halves of all
 * blocks become alike and share compiled sessions. Nothing here depends on blocks, though: a graph without
 * such values is one segment.
 */
import { isFloating } from "../graph/dtype.ts";
import type { Graph, Node } from "../graph/types.ts";
import { constantValues } from "../graph/passes/constants.ts";
import { multiplies } from "../ops/kinds.ts";

/** A piece of the graph with one activation in and one out. */
export interface Segment {
  /** The activation that enters; absent for the first segment, which reads token ids. */
  readonly input?: string;
  readonly output: string;
  /** Nodes in order, including those that only prepare constants (dequantised weights). */
  readonly nodes: readonly Node[];
  /**
   * For a segment that computes the same as another over different weights: that other, itself not a copy,
   * whose nodes it has.
   */
  readonly copyOf?: { readonly segment: Segment; readonly rename: (name: string) => string };
}

/** The segment whose names its nodes have: itself, unless it is a copy. */
export function originalOf(segment: Segment): Segment {
  return segment.copyOf?.segment ?? segment;
}

/** The consecutive segments that a stage of a pipeline has. */
export interface SegmentRange {
  /** Number of the first. */
  readonly from: number;
  /** Number after that of the last. */
  readonly to: number;
  /** Segments of all stages. */
  readonly count: number;
}

/** A graph in pieces. */
export interface Cut {
  /** Computes what several segments read and no activation enters: masks and rotary angles. */
  readonly prologue: readonly Node[];
  /** Values of the prologue, and graph inputs, that segments read. */
  readonly shared: ReadonlySet<string>;
  readonly segments: readonly Segment[];
}

/**
 * @param lowered graph with one output
 * @param constants values that do not depend on an activation
 * @param before optional value that must be a boundary (the input of a head that runs in chunks)
 */
export function cutIntoSegments(
  lowered: Graph,
  constants: ReadonlySet<string> = constantValues(lowered),
  before?: string,
): Cut {
  const carriers = carrierValues(lowered);
  const main: Node[] = [];
  const side: Node[] = [];
  const preparing: Node[] = [];
  for (const node of lowered.nodes) {
    if (node.outputs.some((output) => carriers.has(output))) main.push(node);
    else if (node.outputs.every((output) => output === "" || constants.has(output))) {
      preparing.push(node);
    } else side.push(node);
  }
  const output = lowered.outputs[0].name;
  const boundaries = chooseBoundaries(main, carriers, constants, output, before);
  const segments: Segment[] = [];
  let start = 0;
  let input: string | undefined;
  for (const boundary of boundaries) {
    const end = main.findIndex((node) => node.outputs.includes(boundary)) + 1;
    const nodes = main.slice(start, end);
    segments.push({ input, output: boundary, nodes: [...preparation(nodes, preparing), ...nodes] });
    [start, input] = [end, boundary];
  }
  const shared = new Set<string>();
  const sideOutputs = new Set(side.flatMap((node) => node.outputs));
  const graphInputs = new Set(lowered.inputs.map((info) => info.name));
  for (const node of main) {
    for (const name of node.inputs) {
      if (sideOutputs.has(name) || graphInputs.has(name)) shared.add(name);
    }
  }
  return { prologue: [...preparation(side, preparing), ...side], shared, segments };
}

/** Values computed from the tokens' embeddings. */
function carrierValues(graph: Graph): Set<string> {
  const fromTokens = new Set(
    graph.inputs.filter(({ name, type }) =>
      name === "input_ids" || (name === "inputs_embeds" && type !== undefined)
    ).map(({ name }) => name),
  );
  const carriers = new Set(
    graph.inputs.filter(({ name, type }) => fromTokens.has(name) && isFloating(type!.dtype))
      .map(({ name }) => name),
  );
  for (const node of graph.nodes) {
    const carried = node.inputs.some((input) => carriers.has(input));
    if (!carried && !node.inputs.some((input) => fromTokens.has(input))) continue;
    for (const output of node.outputs) {
      if (output === "") continue;
      fromTokens.add(output);
      const dtype = graph.valueInfo.get(output)?.type?.dtype;
      if (carried || (dtype !== undefined && isFloating(dtype))) carriers.add(output);
    }
  }
  return carriers;
}

function chooseBoundaries(
  main: readonly Node[],
  carriers: ReadonlySet<string>,
  constants: ReadonlySet<string>,
  output: string,
  before?: string,
): string[] {
  const remaining = new Map<string, number>();
  for (const node of main) {
    for (const input of new Set(node.inputs)) {
      if (carriers.has(input)) remaining.set(input, (remaining.get(input) ?? 0) + 1);
    }
  }
  const live = new Set<string>();
  const boundaries: string[] = [];
  let heavy = false;
  for (const node of main) {
    heavy ||= isWeighted(node, constants);
    for (const input of new Set(node.inputs)) {
      const left = remaining.get(input);
      if (left === undefined) continue;
      remaining.set(input, left - 1);
      if (left === 1) live.delete(input);
    }
    for (const value of node.outputs) {
      if (value !== "" && ((remaining.get(value) ?? 0) > 0 || value === output)) live.add(value);
    }
    if (live.size !== 1) continue;
    const [only] = live;
    if (only === output) break;
    if (heavy || only === before) {
      boundaries.push(only);
      heavy = false;
    }
  }
  // The last segment belongs to the head and must hold at least the head's own weights.
  if (!heavy && boundaries.length > 0 && boundaries.at(-1) !== before) boundaries.pop();
  return [...boundaries, output];
}

/** Whether a node multiplies an activation with a weight matrix. */
export function isWeighted(node: Node, constants: ReadonlySet<string>): boolean {
  return multiplies(node) &&
    node.inputs.slice(0, 2).filter((input) => constants.has(input)).length === 1;
}

/** The constant-preparing nodes that `nodes` need, in order. */
function preparation(nodes: readonly Node[], preparing: readonly Node[]): Node[] {
  const wanted = new Set(nodes.flatMap((node) => node.inputs));
  const kept: Node[] = [];
  for (const node of [...preparing].reverse()) {
    if (!node.outputs.some((output) => wanted.has(output))) continue;
    kept.push(node);
    for (const input of node.inputs) wanted.add(input);
  }
  return kept.reverse();
}
