/** The nodes of a graph as blocks: compares what each block reads with what the second one reads. */
import { typeIn } from "../graph/facts.ts";
import { readBy } from "../graph/passes/prune.ts";
import type { Graph, Node } from "../graph/types.ts";

/** Number of the block that the others are compared with and become copies of. */
export const SECOND = 1;

/** What blocks read apart from computed values, one name per block: weights and inputs of the graph. */
export type Counterparts = readonly string[];

/** Where the blocks are. */
export interface Layout {
  /** Index of the first block's first node. */
  readonly start: number;
  /** Number of nodes in a block. */
  readonly period: number;
  readonly count: number;
}

/** The nodes of a graph as blocks, with those before and after the blocks. */
export class BlockNodes {
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

  /** Compares every block with the second; `undefined` where one differs in what it reads. */
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

  /**
   * Whether nothing outside the blocks reads outputs of any block but the last, or weights that belong to one
   * block.
   */
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
   * What a block reads under a name, equal for two blocks that read alike: {@linkcode LEAF} for what no node
   * produces, `undefined` for what is produced two or more blocks earlier, or later.
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

  /** Records what another block reads where the second reads `name`; false where it is of another kind. */
  #fits(name: string, other: string, found: Map<string, string[]>, block: number): boolean {
    const isLeaf = this.#linkOf(other, block) === LEAF;
    if (!isLeaf || this.#typeOf(name) !== this.#typeOf(other)) return false;
    const names = found.get(name) ?? [];
    found.set(name, names);
    names[block] ??= other;
    return names[block] === other;
  }

  #typeOf(name: string): string {
    const type = typeIn(this.#graph, name);
    return `${type?.dtype}[${type?.dims}]`;
  }
}

const LEAF = "leaf";

/** Drops what all blocks share; `undefined` where only some share it, or where a name occurs twice. */
function distinct(found: readonly Counterparts[]): readonly Counterparts[] | undefined {
  const own = found.filter((names) => new Set(names).size > 1);
  const names = own.flat();
  return own.length > 0 && new Set(names).size === names.length ? own : undefined;
}
