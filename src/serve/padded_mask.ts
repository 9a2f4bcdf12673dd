/** Whether an attention mask may have columns behind the last token. */
import { type Graph, MICROSOFT, type Node } from "../graph/types.ts";
import { capturedBy } from "../graph/toposort.ts";

// Inputs of GroupQueryAttention.
// Source: ORT's docs/ContribOperators.md, com.microsoft.GroupQueryAttention.
export const SEQUENCE_LENGTHS = 5;
export const TOTAL_LENGTH = 6;
const COSINES = 7;

/**
 * Columns that the mask of a single token may have at most, zeros behind the tokens. 0 where it may
 * not be padded: anything but GroupQueryAttention looks at the mask, or that at more than the number
 * of its ones (what of a cache is filled) and of its columns (which for one token is but a bound).
 */
export function longestPaddedMask(graph: Graph): number {
  const readers = readersOf(graph, "attention_mask");
  const counted = readers.length > 0 &&
    readers.every((node) =>
      (isPlain(node, "ReduceSum") && reachesOnly(graph, node, SEQUENCE_LENGTHS)) ||
      (isPlain(node, "Shape") && reachesOnly(graph, node, TOTAL_LENGTH))
    );
  if (!counted) return 0;
  // Attention wants a row of its table of rotations for every column.
  return graph.nodes.filter(isAttention).reduce((least, { inputs }) => {
    const table = inputs[COSINES];
    if (!table) return least;
    return Math.min(least, graph.initializers.get(table)?.dims[0] ?? 0);
  }, Infinity);
}

const isPlain = (node: Node, opType: string) => node.opType === opType && node.domain === "";

const isAttention = (node: Node) =>
  node.opType === "GroupQueryAttention" && node.domain === MICROSOFT;

/** Whether what comes of a node's outputs ends as this one input of attention nodes. */
function reachesOnly(graph: Graph, node: Node, input: number): boolean {
  return node.outputs.every((value) =>
    !graph.outputs.some(({ name }) => name === value) &&
    readersOf(graph, value).every((reader) =>
      isAttention(reader)
        ? reader.inputs.every((name, i) => name !== value || i === input)
        : reachesOnly(graph, reader, input)
    )
  );
}

function readersOf(graph: Graph, value: string): Node[] {
  return graph.nodes.filter((node) => node.inputs.includes(value) || capturedBy(node).has(value));
}
