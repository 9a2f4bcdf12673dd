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
import { verify } from "../graph/verify.ts";
import { sourceOf, watched } from "../graph/watched.ts";
import { MASK_SUFFIX, SALT_SUFFIX, saltName, saltOf } from "./dropout.ts";
import { TARGET_ROWS } from "./select_rows.ts";
import { attributeText } from "./graph_text.ts";

/** Blocks from which on leaving some out is worth it: three stay. */
const LEAST_BLOCKS = 4;

/** Where blocks may be taken to begin: so many places are tried. */
const MOST_BEGINNINGS = 8;

/** What blocks read beside computed values, one name a block: weights, inputs of the graph. */
type Counterparts = readonly string[];

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

/** Number of the block whose copies the others are. */
export const SECOND = 1;

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
  const how = Object.keys(attributes).sort().map((key) =>
    `${key}=${attributeText(attributes[key])}`
  );
  return `${domain}.${opType}(${read}) ${how} ${outputs.map((output) => output !== "")}`;
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
  const isNormalization = (place: number) => Number(/Normalization$/.test(nodes[place].opType));
  return places.sort((a, b) =>
    crossing.get(a)! - crossing.get(b)! || isNormalization(b) - isNormalization(a) || a - b
  );
}

interface Layout {
  /** Number of the first block's first node. */
  readonly start: number;
  /** Nodes of a block. */
  readonly period: number;
  readonly count: number;
}

/** @returns `undefined` where the blocks are not alike in what they read */
function fold(graph: Graph, layout: Layout): FoldedBlocks | undefined {
  const blocks = new BlockNodes(graph, layout);
  const counterparts = blocks.counterparts();
  if (counterparts === undefined || !blocks.onlyLastIsRead(counterparts)) return undefined;
  const folded = prune({ ...graph, nodes: blocks.withoutMiddle() });
  return new FoldedBlocks(graph, verify(folded, "fold()"), counterparts);
}

/** The nodes of a graph as blocks, what is before them and what is behind. */
class BlockNodes {
  readonly #graph: Graph;
  readonly #layout: Layout;
  readonly #end: number;
  readonly #producers = new Map<string, { readonly at: number; readonly output: number }>();

  constructor(graph: Graph, layout: Layout) {
    this.#graph = graph;
    this.#layout = layout;
    this.#end = layout.start + layout.period * layout.count;
    graph.nodes.forEach(({ outputs }, at) =>
      outputs.forEach((name, output) => this.#producers.set(name, { at, output }))
    );
  }

  /** Compares every block with the second; `undefined` where one reads in another way. */
  counterparts(): readonly Counterparts[] | undefined {
    const { period, count } = this.#layout;
    const found = new Map<string, string[]>();
    for (let place = 0; place < period; place++) {
      const second = this.#node(SECOND, place);
      if (Object.values(second.attributes).some(({ kind }) => kind === "graph")) return undefined;
      for (const [i, name] of second.inputs.entries()) {
        const own = this.#linkOf(name, SECOND);
        if (own === undefined) return undefined;
        for (let block = 0; block < count; block++) {
          const other = this.#node(block, place).inputs[i];
          if (own === LEAF) {
            if (!this.#fits(name, other, found, block)) return undefined;
          } else if (block > 0 && this.#linkOf(other, block) !== own) return undefined;
        }
      }
    }
    return distinct([...found.values()]);
  }

  /** Whether nothing outside reads what other blocks than the last make, or one block's weights. */
  onlyLastIsRead(counterparts: readonly Counterparts[]): boolean {
    const own = new Set(counterparts.flat());
    const { nodes, outputs } = this.#graph;
    const { start } = this.#layout;
    const outside = [...nodes.slice(0, start), ...nodes.slice(this.#end)].flatMap((node) => [
      ...readBy(node),
    ]);
    return [...outside, ...outputs.map(({ name }) => name)].every((name) => {
      const block = this.#blockOf(name);
      return !own.has(name) && (block === undefined || block === this.#layout.count - 1);
    });
  }

  /** The graph's nodes without the blocks between the second and the last. */
  withoutMiddle(): readonly Node[] {
    const { nodes } = this.#graph;
    const { start, period, count } = this.#layout;
    const last = nodes.slice(this.#end - period, this.#end);
    return [
      ...nodes.slice(0, start + 2 * period),
      ...last.map((node) => ({
        ...node,
        inputs: node.inputs.map((input) => {
          if (this.#blockOf(input) !== count - 2) return input;
          const { at, output } = this.#producers.get(input)!;
          return this.#node(SECOND, (at - start) % period).outputs[output];
        }),
        rest: undefined,
      })),
      ...nodes.slice(this.#end),
    ];
  }

  #node(block: number, place: number): Node {
    const { start, period } = this.#layout;
    return this.#graph.nodes[start + block * period + place];
  }

  #blockOf(name: string): number | undefined {
    const producer = this.#producers.get(name);
    const { start, period } = this.#layout;
    if (producer === undefined || producer.at < start || producer.at >= this.#end) return undefined;
    return Math.floor((producer.at - start) / period);
  }

  /**
   * What a block reads under a name, equal for two blocks that read alike; {@linkcode LEAF} for what no
   * node makes, `undefined` for what is made two blocks before, or later.
   */
  #linkOf(name: string, block: number): string | undefined {
    const producer = name === "" ? undefined : this.#producers.get(name);
    if (producer === undefined) return name === "" ? "" : LEAF;
    const made = this.#blockOf(name);
    if (made === undefined) return producer.at < this.#end ? `before: ${name}` : undefined;
    if (made !== block && made !== block - 1) return undefined;
    const { start, period } = this.#layout;
    return `${block - made} ${(producer.at - start) % period} ${producer.output}`;
  }

  /** Notes what stands in a block for what the second reads; false where it is of another kind. */
  #fits(name: string, other: string, found: Map<string, string[]>, block: number): boolean {
    const isLeaf = this.#linkOf(other, block) === LEAF;
    if (!isLeaf || this.#typeOf(name) !== this.#typeOf(other)) return false;
    const names = found.get(name) ?? [];
    found.set(name, names);
    names[block] ??= other;
    return names[block] === other;
  }

  #typeOf(name: string): string {
    const { initializers, inputs } = this.#graph;
    const weight = initializers.get(name);
    if (weight !== undefined) return `${weight.dtype}[${weight.dims}]`;
    const type = inputs.find((input) => input.name === name)?.type;
    return `input ${type?.dtype}[${type?.shape}]`;
  }
}

const LEAF = "leaf";

/** Without what all blocks share; `undefined` where some do, or where a name stands in two places. */
function distinct(found: readonly Counterparts[]): readonly Counterparts[] | undefined {
  const own = found.filter((names) => new Set(names).size > 1);
  const names = own.flat();
  return own.length > 0 && new Set(names).size === names.length ? own : undefined;
}
