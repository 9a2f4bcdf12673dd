/**
 * Alike blocks of a model, all but three of which a plan need not look at.
 *
 * The blocks of a transformer are the same nodes over other weights. What planning does with one of
 * them it does with every other, so that a graph with the first, the second and the last tells all:
 * `repeat_segments.ts` puts the others back as copies of the second. Planning looks at types and
 * dimensions; where it does look at a weight's contents, those have to be equal in all blocks.
 */
import { equals } from "@std/bytes/equals";
import { prune, readBy } from "../graph/passes/prune.ts";
import { longestRepeat, type Repeat } from "../graph/repeats.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { sourceOf, watched } from "../graph/watched.ts";
import { normalizes } from "../ops/kinds.ts";
import { BlockNodes, type Counterparts, type Layout, SECOND } from "./block_nodes.ts";
import { MASK_SUFFIX, SALT_SUFFIX, saltName, saltOf } from "./dropout.ts";
import { TARGET_ROWS } from "./select_rows.ts";
import { attributesText } from "../graph/graph_text.ts";

/** Blocks from which on leaving some out is worth it: three stay. */
const LEAST_BLOCKS = 4;

/** Where blocks may be taken to begin: so many places are tried. */
const MOST_BEGINNINGS = 8;

/** A graph of alike blocks with the first, the second and the last of them. */
export class FoldedBlocks {
  readonly graph: Graph;
  /** Blocks in all. */
  readonly count: number;
  readonly #source: Graph;
  /** By each of their names. */
  readonly #counterparts = new Map<
    string,
    { readonly names: Counterparts; readonly block: number }
  >();
  /** Names of the second block's weights whose contents something has looked at. */
  readonly #looked = new Set<string>();
  /** By the second block's tensors. */
  readonly #names = new Map<Tensor, string>();
  readonly #equal = new Map<string, boolean>();

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
      if (value === undefined) continue;
      this.#names.set(value, names[SECOND]);
      initializers.set(names[SECOND], watched(value, () => this.#looked.add(names[SECOND])));
    }
    this.graph = { ...folded, initializers };
  }

  /** The block that reads a weight or an input as its own; `undefined` for what all read, or none. */
  blockOf(name: string): number | undefined {
    return this.#counterparts.get(name)?.block;
  }

  /** What another block reads in the place of a name. */
  counterpart(name: string, block: number): string {
    return this.#counterparts.get(name)!.names[block];
  }

  /**
   * The weight, or view of one, that stands in another block where the second has a value of this
   * name; `undefined` where the value is not the second block's.
   */
  tensorIn(block: number, name: string, value: Tensor): Tensor | undefined {
    if (this.blockOf(name) === SECOND && name.endsWith(SALT_SUFFIX)) {
      return saltOf(this.counterpart(name, block));
    }
    return this.#viewIn(block, value);
  }

  #viewIn(block: number, value: Tensor): Tensor | undefined {
    const source = sourceOf(value);
    const name = source && this.#names.get(source);
    if (name === undefined) return undefined;
    return { ...this.#source.initializers.get(this.counterpart(name, block))!, dims: value.dims };
  }

  /** Whether all contents that were looked at so far are those of every block. */
  get isSound(): boolean {
    return [...this.#looked].every((name) => this.isEqualInAll(name));
  }

  /** Whether a weight of the second block has the same contents in every block. */
  isEqualInAll(name: string): boolean {
    let found = this.#equal.get(name);
    if (found === undefined) {
      const { names } = this.#counterparts.get(name)!;
      const [first, ...others] = names.map((name) => this.#source.initializers.get(name)?.bytes);
      // Inputs of the graph, which are constants where a batch leaves them empty, have no contents.
      found = others.every((bytes) => bytes === first || equals(bytes!, first!));
      this.#equal.set(name, found);
    }
    return found;
  }
}

/** The ways to fold a graph, the likeliest first, of which one at a time is in use. */
export class Foldings {
  readonly #ways: Iterator<FoldedBlocks, undefined>;
  #current: FoldedBlocks | undefined;

  /** @param trainable weights that are told from others of their kind */
  constructor(graph: Graph, trainable: ReadonlySet<string>) {
    this.#ways = foldings(graph, trainable);
    this.#current = this.#ways.next().value;
  }

  /** `undefined` where the graph must be looked at whole. */
  get current(): FoldedBlocks | undefined {
    return this.#current;
  }

  /** The current way has turned out not to do. */
  reject(): void {
    this.#current = this.#ways.next().value;
  }
}

const foldingsOfGraphs = new WeakMap<Graph, WeakMap<ReadonlySet<string>, Foldings>>();

/** The ways to fold a graph for a set of trainable weights; they are kept as long as both are. */
export function foldingsOf(graph: Graph, trainable: ReadonlySet<string>): Foldings {
  const ofGraph = foldingsOfGraphs.get(graph) ?? new WeakMap<ReadonlySet<string>, Foldings>();
  foldingsOfGraphs.set(graph, ofGraph);
  const found = ofGraph.get(trainable) ?? new Foldings(graph, trainable);
  ofGraph.set(trainable, found);
  return found;
}

function* foldings(
  graph: Graph,
  trainable: ReadonlySet<string>,
): Generator<FoldedBlocks, undefined> {
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
    // Of the last block, target rows alone may be wanted.
    for (const count of selects ? [all - 1, all] : [all]) {
      const folded = count >= LEAST_BLOCKS ? fold(graph, { start, period, count }) : undefined;
      if (folded !== undefined) yield folded;
    }
  }
}

/** Name of a value in a copy of the block that it is of; the block itself is copy 0. */
export function copied(name: string, copy: number): string {
  return copy === 0 ? name : `${name}@${copy}`;
}

/** Whether a name may be another value's in a copy. */
function isCopied(name: string): boolean {
  return /@\d+/.test(name);
}

/** A node but for the names of what it reads and makes. */
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
 * Where within the first period blocks may begin: first where the fewest values cross over, of those
 * at a normalisation, which adds up the residual stream too where exporters have fused both.
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
      // A period further on, where a whole block lies before.
      const border = place + period;
      if (i < border && last >= border) crossing.set(place, crossing.get(place)! + 1);
    }
  }
  const isNormalization = (place: number) => Number(normalizes(nodes[place]));
  return places.sort((a, b) =>
    crossing.get(a)! - crossing.get(b)! || isNormalization(b) - isNormalization(a) || a - b
  );
}

/** @returns `undefined` where the blocks are not alike in what they read */
function fold(graph: Graph, layout: Layout): FoldedBlocks | undefined {
  const blocks = new BlockNodes(graph, layout);
  const counterparts = blocks.counterparts();
  if (counterparts === undefined || !blocks.onlyLastIsRead(counterparts)) return undefined;
  const folded = prune({ ...graph, nodes: blocks.withoutMiddle() });
  return new FoldedBlocks(graph, folded, counterparts);
}
