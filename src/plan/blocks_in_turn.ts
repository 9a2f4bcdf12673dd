/**
 * Computes the blocks of an attention one after another. The runtime computes depth first, from a
 * call's results: of attention's cotangents it would finish the values' for all blocks before it begins
 * with the keys', and the scores of all blocks would lie in memory until then, which is the square of
 * a sequence's length. So whatever begins a block reads, beside its operand, nothing of what the block
 * before leaves: slices without an element.
 */
import { int } from "../graph/attributes.ts";
import { node as nodeOf } from "../graph/node.ts";
import { int64Of } from "../graph/extents.ts";
import { isAtMost, plus, productOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import { toposort } from "../graph/toposort.ts";
import type { Node } from "../graph/types.ts";
import { kindOf } from "../ops/registry.ts";
import type { Piece } from "./piece.ts";

/** Scores of all blocks that may lie in memory together: fewer are not worth the copies of operands. */
const MOST_BYTES = 2 ** 25;

/** What is computed of the scores of a block of queries. */
interface ScoreBlock {
  /** Products that make what has an element for each score: the scores, and their cotangents. */
  readonly begins: readonly Node[];
  /** Products that make less of it: of values, of queries, of keys. */
  readonly ends: readonly Node[];
  readonly bytes: Extent;
}

/**
 * @param mostBytes of scores that stay as they are
 * @returns nodes that compute the same, in topological order
 */
export function withBlocksInTurn(piece: Piece, mostBytes = MOST_BYTES): Piece {
  const blocks = scoreBlocks(piece);
  if (blocks.length < 2) return piece;
  const bytes = blocks.reduce((sum, block) => plus(sum, block.bytes), 0 as Extent);
  if (isAtMost(bytes, mostBytes)) return piece;
  const ties = new Ties(piece);
  blocks.slice(1).forEach((block, i) => ties.tie(blocks[i], block));
  return ties.finished();
}

/** The blocks of all attention with a softmax, in the order of their nodes. */
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

/** The sum over blocks that a product enters: until it is taken, the product stays in memory. */
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
  /** By node: what it reads in the place of its first input. */
  readonly #tied = new Map<Node, string>();
  readonly #producers: ReadonlyMap<string, Node>;

  constructor(piece: Piece) {
    this.#piece = piece;
    this.#constants = new Map(piece.constants);
    this.#producers = new Map(
      piece.nodes.flatMap((node) => node.outputs.map((output) => [output, node])),
    );
  }

  /** Lets a block wait for another, unless that one needs something of it. */
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

  /** @returns a value without an element, of these dimensions but for the last but one */
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
