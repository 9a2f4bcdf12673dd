/**
 * Computes the blocks of an attention one after another. The runtime computes depth first, from a call's
 * results: of attention's cotangents it would finish those of the values for all blocks before beginning with
 * those of the keys. Until then the scores of all blocks would stay in memory, and their size is the square
 * of a sequence's length. To prevent this, whatever begins a block also reads slices without elements from
 * the results of the block before.
 */
import { int } from "../graph/attributes.ts";
import { node as nodeOf } from "../graph/node.ts";
import { int64Of } from "../graph/extents.ts";
import { isAtMost, productOf, sumOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import { toposort } from "../graph/toposort.ts";
import type { Node } from "../graph/types.ts";
import { kindOf } from "../ops/registry.ts";
import type { Piece } from "./piece.ts";

/**
 * Most bytes of scores of all blocks in memory at once: below this, copying operands costs more than it
 * saves.
 */
const MOST_BYTES = 2 ** 25;

/** The products around the scores of one block of queries. */
interface ScoreBlock {
  /** Products whose result has an element per score: the scores, and their cotangents. */
  readonly begins: readonly Node[];
  /** Products that reduce scores to something smaller: with values, queries or keys. */
  readonly ends: readonly Node[];
  readonly bytes: Extent;
}

/**
 * @param mostBytes most bytes of scores for which the piece is left unchanged
 * @returns nodes that compute the same, in topological order
 */
export function withBlocksInTurn(piece: Piece, mostBytes = MOST_BYTES): Piece {
  const blocks = scoreBlocks(piece);
  if (blocks.length < 2) return piece;
  const bytes = sumOf(blocks.map(({ bytes }) => bytes));
  if (isAtMost(bytes, mostBytes)) return piece;
  const ties = new Ties(piece);
  blocks.slice(1).forEach((block, i) => ties.tie(blocks[i], block));
  return ties.finished();
}

/** The blocks of every attention with a softmax, in the order of their nodes. */
function scoreBlocks({ nodes, dims }: Piece): readonly ScoreBlock[] {
  const found: ScoreBlock[] = [];
  const sizeOf = (value: string) => productOf(dims(value));
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((out) => [out, node])));
  const readers = new Map<string, Node[]>();
  for (const node of nodes) {
    for (const input of new Set(node.inputs)) {
      readers.set(input, [...readers.get(input) ?? [], node]);
    }
  }
  for (const softmax of nodes) {
    const [probabilities] = softmax.outputs;
    if (softmax.opType !== "Softmax" || dims(probabilities).length < 4) continue;
    const size = sizeOf(probabilities);
    const hasScores = (value: string) => value !== "" && sizeOf(value) === size;
    const inside = new Set<Node>();
    const begins = new Set<Node>();
    const ends = new Set<Node>();
    const visit = (node: Node) => {
      if (inside.has(node) || begins.has(node)) return;
      if (isProduct(node)) {
        begins.add(node);
      } else {
        inside.add(node);
        for (const input of node.inputs) {
          const producer = hasScores(input) ? producers.get(input) : undefined;
          if (producer !== undefined) visit(producer);
        }
      }
      for (const reader of node.outputs.flatMap((output) => readers.get(output) ?? [])) {
        if (reader.outputs.some(hasScores)) visit(reader);
        else if (isProduct(reader)) ends.add(addedUp(reader, readers));
      }
    };
    visit(softmax);
    found.push({
      begins: [...begins],
      ends: [...ends],
      bytes: times(size, Float32Array.BYTES_PER_ELEMENT),
    });
  }
  return found;
}

/** The sum over blocks that a product enters: the product stays in memory until it is added. */
function addedUp(product: Node, readers: ReadonlyMap<string, readonly Node[]>): Node {
  let node = product;
  for (;;) {
    const [reader, ...others] = readers.get(node.outputs[0]) ?? [];
    if (reader === undefined || others.length > 0) return product;
    if (kindOf(reader) === "scatter") return reader;
    if (reader.opType !== "Reshape") return product;
    node = reader;
  }
}

function isProduct(node: Node): boolean {
  return kindOf(node) === "product";
}

class Ties {
  readonly #piece: Piece;
  readonly #constants: Map<string, Tensor>;
  readonly #added: Node[] = [];
  /** What each node reads instead of its first input. */
  readonly #tied = new Map<Node, string>();
  readonly #producers: ReadonlyMap<string, Node>;

  constructor(piece: Piece) {
    this.#piece = piece;
    this.#constants = new Map(piece.constants);
    this.#producers = new Map(
      piece.nodes.flatMap((node) => node.outputs.map((output) => [output, node])),
    );
  }

  /** Makes the second block wait for the first, unless the first needs something from the second. */
  tie(first: ScoreBlock, second: ScoreBlock): void {
    const needed = this.#ancestors(first.ends);
    if (second.begins.some((node) => needed.has(node))) return;
    for (const node of second.begins) {
      const [x] = node.inputs;
      const dims = this.#piece.dims(x);
      const nothing = first.ends.map(({ outputs: [end] }) => this.#nothingOf(end, dims));
      const tied = `${x}.in turn.${this.#added.length}`;
      this.#added.push(nodeOf("Concat", [x, ...nothing], tied, { axis: int(dims.length - 2) }));
      this.#tied.set(node, tied);
    }
  }

  finished(): Piece {
    const nodes = this.#piece.nodes.map((node) => {
      const first = this.#tied.get(node);
      return first === undefined ? node : { ...node, inputs: [first, ...node.inputs.slice(1)] };
    });
    return {
      ...this.#piece,
      nodes: toposort([...nodes, ...this.#added]),
      constants: this.#constants,
    };
  }

  /** @returns a value without elements, of the given dimensions except the last but one, which is 0 */
  #nothingOf(end: string, dims: readonly Extent[]): string {
    const name = `${end}.nothing.${this.#added.length}`;
    const empty = dims.map((dim, axis) => axis === dims.length - 2 ? 0 : dim);
    this.#added.push(
      nodeOf("Slice", [end, this.#ints([0]), this.#ints([0]), this.#ints([0])], `${name}.part`),
      nodeOf("Reshape", [`${name}.part`, this.#ints(empty)], name, { allowzero: int(1) }),
    );
    return name;
  }

  #ints(values: readonly Extent[]): string {
    const name = `in turn [${values}]`;
    if (!this.#constants.has(name)) this.#constants.set(name, int64Of([values.length], values));
    return name;
  }

  #ancestors(nodes: readonly Node[]): ReadonlySet<Node> {
    const found = new Set<Node>();
    const left = [...nodes];
    for (let node = left.pop(); node !== undefined; node = left.pop()) {
      if (found.has(node)) continue;
      found.add(node);
      const inputs = [...node.inputs, this.#tied.get(node) ?? ""];
      for (const input of inputs) {
        const producer = this.#producers.get(input);
        if (producer !== undefined) left.push(producer);
      }
    }
    return found;
  }
}
