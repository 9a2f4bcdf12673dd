/**
 * The memory that a single run of the user's graph takes, when it is compared with the graph lowered from it.
 */
import { piecesOf } from "../graph/pieces.ts";
import type { Graph } from "../graph/types.ts";
import { isRandom } from "../ops/kinds.ts";

/** Bytes of weights in memory at once where the runtime repacks them. */
export const WEIGHT_BYTES_AT_ONCE = 2 ** 26;

/** Bytes that repacking takes per byte of its result, copies on the way included. */
const PREPACKING_FACTOR = 1.75;

/**
 * Whether weights are read by MatMulNBits, which dequantises a whole matrix at a time from weights as stored
 * and ignores its `accuracy_level`: neither small nor what the user's runtime does.
 */
export function readsBlocks(graph: Graph): boolean {
  return graph.nodes.some(({ opType }) => opType === "MatMulNBits");
}

/**
 * The most bytes that the weights take: those of all files, as pages, or, where the runtime repacks them,
 * those of a piece, both as stored and repacked.
 */
export function comparedBytes(graph: Graph, weightBytes: number): number {
  return readsBlocks(graph) ? largestPieceBytes(graph) : weightBytes;
}

/** The most bytes that the weights of a piece take. */
export function largestPieceBytes(graph: Graph): number {
  const wanted = graph.outputs.map(({ name }) => name);
  const pieces = piecesOf(graph, WEIGHT_BYTES_AT_ONCE, wanted, isRandom).map(
    ({ nodes, initializers }) => {
      const sizeOf = (name: string) => initializers.get(name)?.bytes.byteLength ?? 0;
      const repacked = new Set(
        nodes.flatMap(({ opType, inputs }) => opType === "MatMulNBits" ? [inputs[1]] : []),
      );
      const sum = (names: Iterable<string>) =>
        [...names].reduce((bytes, name) => bytes + sizeOf(name), 0);
      return sum(initializers.keys()) + PREPACKING_FACTOR * sum(repacked);
    },
  );
  return Math.max(...pieces);
}
