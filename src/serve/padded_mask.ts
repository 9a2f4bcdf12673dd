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
  const readersOf = readersIn(graph);
  const readers = readersOf("attention_mask");
  const counted = readers.length > 0 &&
    readers.every((node) =>
      (isPlain(node, "ReduceSum") && reachesOnly(graph, readersOf, node, SEQUENCE_LENGTHS)) ||
      (isPlain(node, "Shape") && reachesOnly(graph, readersOf, node, TOTAL_LENGTH))
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

/** The nodes that read a value, in their subgraphs or themselves. */
type ReadersOf = (value: string) => readonly Node[];

function readersIn(graph: Graph): ReadersOf {
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const value of new Set([...node.inputs, ...capturedBy(node)])) {
      const found = readers.get(value);
      if (found === undefined) readers.set(value, [node]);
      else found.push(node);
    }
  }
  return (value) => readers.get(value) ?? [];
}

/** Whether what comes of a node's outputs ends as this one input of attention nodes. */
function reachesOnly(graph: Graph, readersOf: ReadersOf, from: Node, input: number): boolean {
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  // A list, not a recursion: files have chains of any length, and values that are read twice again and again.
  const reached = new Set([from]);
  for (const node of reached) {
    for (const value of node.outputs) {
      if (outputs.has(value)) return false;
      for (const reader of readersOf(value)) {
        if (!isAttention(reader)) reached.add(reader);
        else if (reader.inputs.some((name, i) => name === value && i !== input)) return false;
      }
    }
  }
  return true;
}
