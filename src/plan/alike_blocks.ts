/**
 * Alike blocks of a model, of which a plan needs to look at only three.
 *
 * The blocks of a transformer have the same nodes over different weights. Planning treats all of them alike,
 * so a graph with the first, the second and the last block is enough: `repeat_segments.ts` puts the others
 * back as copies of the second. Planning looks at types and dimensions; where it does look at a weight's
 * contents, they must be equal in all blocks.
 */
import { equals } from "@std/bytes/equals";
import { Parameter } from "../graph/parameter.ts";
import { prune, readBy } from "../graph/passes/prune.ts";
import { longestRepeat, type Repeat } from "../graph/repeats.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { normalizes } from "../ops/kinds.ts";
import { BlockNodes, type Counterparts, type Layout, SECOND } from "./block_nodes.ts";
import { MASK_SUFFIX, SALT_SUFFIX, saltName, saltOf } from "./dropout.ts";
import { TARGET_ROWS } from "./select_rows.ts";
import { attributesText } from "../graph/graph_text.ts";

/** The number of blocks from which leaving some out pays off: three stay. */
const LEAST_BLOCKS = 4;

/** How many positions are tried as the beginning of the first block. */
const MOST_BEGINNINGS = 8;

/** Planning has looked at something that is not the same in all blocks. */
export class UnlikeBlocksError extends Error {
  override name = "UnlikeBlocksError";

  constructor(readonly folded: FoldedBlocks) {
    super("Planning has looked at something that is not the same in all blocks");
  }
}

/** A graph of alike blocks reduced to the first, the second and the last. */
export class FoldedBlocks {
  /** In it, the second block's weights are parameters. */
  readonly graph: Graph;
  /** Number of blocks in the source graph. */
  readonly count: number;
  /** Whether planning must not use this folding. */
  isRejected = false;
  readonly #source: Graph;
  /** By each of the names. */
  readonly #counterparts = new Map<
    string,
    { readonly names: Counterparts; readonly block: number }
  >();

  constructor(source: Graph, folded: Graph, counterparts: readonly Counterparts[]) {
    this.#source = source;
    this.count = counterparts[0].length;
    const masks = counterparts.filter(([name]) => name.endsWith(MASK_SUFFIX));
    for (const names of [...counterparts, ...masks.map((names) => names.map(saltName))]) {
      names.forEach((name, block) => this.#counterparts.set(name, { names, block }));
    }
    const initializers = new Map(folded.initializers);
    for (const names of counterparts) {
      const value = initializers.get(names[SECOND]);
      if (value !== undefined) initializers.set(names[SECOND], this.#parameter(names, value));
    }
    this.graph = { ...folded, initializers };
  }

  /**
   * The second block's weight, whose contents may be read where they are the same in all blocks. They are
   * compared only then: most weights are large, lie in mapped files and are never looked at.
   */
  #parameter(names: Counterparts, weight: Tensor): Parameter {
    let areEqual: boolean | undefined;
    return new Parameter(names[SECOND], weight, () => {
      areEqual ??= names.every((name) =>
        haveSameBytes(this.#source.initializers.get(name)!, weight)
      );
      if (!areEqual) throw new UnlikeBlocksError(this);
      return weight.bytes;
    });
  }

  /** The block that alone reads a weight or an input; `undefined` for what all blocks read, or none. */
  blockOf(name: string): number | undefined {
    return this.#counterparts.get(name)?.block;
  }

  /** The name that another block reads in place of this one. */
  counterpart(name: string, block: number): string {
    return this.#counterparts.get(name)!.names[block];
  }

  /**
   * The weight, or view of one, that another block has where the second has a value of this name; `undefined`
   * where the value is not the second block's.
   */
  tensorIn(block: number, name: string, value: Tensor): Tensor | undefined {
    if (this.blockOf(name) === SECOND && name.endsWith(SALT_SUFFIX)) {
      return saltOf(this.counterpart(name, block));
    }
    if (!(value instanceof Parameter)) return undefined;
    return value.viewOf(this.#source.initializers.get(this.counterpart(value.name, block))!);
  }
}

/** Compares contents up to the first difference, and not at all where both are the same memory. */
export function haveSameBytes({ bytes: a }: Tensor, { bytes: b }: Tensor): boolean {
  const areOne = a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length;
  return areOne || equals(a, b);
}

const foldingsOfGraphs = new WeakMap<Graph, WeakMap<ReadonlySet<string>, Foldings>>();

/**
 * A graph with three of its alike blocks: the likeliest folding that is not rejected, or `undefined` where
 * the graph must be planned whole. Foldings are kept as long as the graph and the set are.
 *
 * @param trainable weights to be distinguished from others of the same type
 */
export function foldedBlocks(
  graph: Graph,
  trainable: ReadonlySet<string>,
): FoldedBlocks | undefined {
  const ofGraph = foldingsOfGraphs.get(graph) ?? new WeakMap<ReadonlySet<string>, Foldings>();
  foldingsOfGraphs.set(graph, ofGraph);
  const found = ofGraph.get(trainable) ?? foldings(graph, trainable);
  ofGraph.set(trainable, found);
  return found.next().value;
}

type Foldings = Generator<FoldedBlocks, undefined>;

/** Every way to fold a graph, the likeliest first; each is repeated until it is rejected. */
function* foldings(graph: Graph, trainable: ReadonlySet<string>): Foldings {
  if (graph.nodes.some(({ outputs }) => outputs.some(isCopied))) return;
  const labels = graph.nodes.map((node) => labelOf(node, graph, trainable));
  const repeat = longestRepeat(labels, LEAST_BLOCKS);
  if (repeat === undefined) return;
  const selects = graph.inputs.some(({ name }) => name === TARGET_ROWS);
  let tried = 0;
  for (const start of beginnings(graph.nodes, repeat)) {
    if (tried++ >= MOST_BEGINNINGS) return;
    const { period } = repeat;
    const all = Math.floor((repeat.start + repeat.length - start) / period);
    // In the last block, only the target rows may be wanted.
    for (const count of selects ? [all - 1, all] : [all]) {
      const folded = count >= LEAST_BLOCKS ? fold(graph, { start, period, count }) : undefined;
      while (folded?.isRejected === false) yield folded;
    }
  }
}

/** Name of a block's value in a copy of that block; the block itself is copy 0. */
export function copied(name: string, copy: number): string {
  return copy === 0 ? name : `${name}@${copy}`;
}

/** Whether a name could be that of a value in a copy. */
function isCopied(name: string): boolean {
  return /@\d+/.test(name);
}

/** A node apart from the names of its inputs and outputs. */
function labelOf(
  { opType, domain, attributes, inputs, outputs }: Node,
  { initializers }: Graph,
  trainable: ReadonlySet<string>,
): string {
  const read = inputs.map((input) => {
    const weight = initializers.get(input);
    if (weight === undefined) return String(input !== "");
    return `${trainable.has(input) ? "trained " : ""}${weight.dtype}[${weight.dims}]`;
  });
  return `${domain}.${opType}(${read}) ${attributesText(attributes)} ${
    outputs.map((output) => output !== "")
  }`;
}

/**
 * The positions within the first period at which blocks may begin. First come those that the fewest values
 * cross; among these, those at a normalisation, which also contains the residual addition where an exporter
 * fused the two.
 */
function beginnings(nodes: readonly Node[], { start, period, length }: Repeat): number[] {
  const lastRead = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const input of readBy(node)) lastRead.set(input, i);
  });
  const places = Array.from({ length: period }, (_, r) => start + r);
  const crossing = new Map(places.map((place) => [place, 0]));
  for (let i = start; i < Math.min(start + length, start + 2 * period); i++) {
    const last = Math.max(...nodes[i].outputs.map((output) => lastRead.get(output) ?? i));
    for (const place of places) {
      // One period further on, so that a whole block comes before it.
      const border = place + period;
      if (i < border && last >= border) crossing.set(place, crossing.get(place)! + 1);
    }
  }
  const isNormalization = (place: number) => Number(normalizes(nodes[place]));
  return places.sort((a, b) =>
    crossing.get(a)! - crossing.get(b)! || isNormalization(b) - isNormalization(a) || a - b
  );
}

/** @returns `undefined` where the blocks' inputs are not alike */
function fold(graph: Graph, layout: Layout): FoldedBlocks | undefined {
  const blocks = new BlockNodes(graph, layout);
  const counterparts = blocks.counterparts();
  if (counterparts === undefined || !blocks.onlyLastIsRead(counterparts)) return undefined;
  const folded = prune({ ...graph, nodes: blocks.withoutMiddle() });
  return new FoldedBlocks(graph, folded, counterparts);
}
