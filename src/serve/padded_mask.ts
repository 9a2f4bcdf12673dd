/** Determines whether an attention mask may have columns after the last token. */
import { type Graph, MICROSOFT, type Node } from "../graph/types.ts";
import { capturedBy } from "../graph/toposort.ts";

// Inputs of GroupQueryAttention.
// Source: ORT's docs/ContribOperators.md, com.microsoft.GroupQueryAttention.
export const SEQUENCE_LENGTHS = 5;
export const TOTAL_LENGTH = 6;
const COSINES = 7;

/**
 * Most columns of a single token's mask, with zeros after the tokens. 0 if it must not be padded: if
 * other nodes than GroupQueryAttention read the mask, or more than the number of its ones (the filled
 * length of a cache) and of its columns (for one token only a limit).
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
  // Attention needs a row of its rotation table for every column.
  return graph.nodes.filter(isAttention).reduce((least, { inputs }) => {
    const table = inputs[COSINES];
    if (!table) return least;
    return Math.min(least, graph.initializers.get(table)?.dims[0] ?? 0);
  }, Infinity);
}

const isPlain = (node: Node, opType: string) => node.opType === opType && node.domain === "";

const isAttention = (node: Node) =>
  node.opType === "GroupQueryAttention" && node.domain === MICROSOFT;

/** The nodes that read a value, directly or in their subgraphs. */
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

/** Whether a node's outputs are used only for this input of attention nodes. */
function reachesOnly(graph: Graph, readersOf: ReadersOf, from: Node, input: number): boolean {
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  // A list, not a recursion: files can have chains of any length, and values that are read twice many
  // times over.
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
