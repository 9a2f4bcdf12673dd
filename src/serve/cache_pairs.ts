/** Pairs a model's cache inputs of keys and values with the outputs that continue them. */
import { BadInputError } from "../errors.ts";
import { type Graph, MICROSOFT, type Node } from "../graph/types.ts";
import { isCache } from "../plan/inputs.ts";

/** A cache input and the output that holds its next value. */
export interface CachePair {
  readonly past: string;
  readonly present: string;
}

/**
 * Pairs caches by exporters' names (`past_key_values.N.key` with `present.N.key`), otherwise by the
 * attention node.
 *
 * @throws {BadInputError} for a cache that no output continues
 */
export function pairCaches(graph: Graph): CachePair[] {
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  return graph.inputs.filter(({ name }) => isCache(name)).map(({ name }) => {
    const renamed = [
      name.replace(/^past_key_values?/, "present"),
      name.replace(/^past_key_values?/, "present_key_values"),
      name.replace(/^past/, "present"),
    ].find((candidate) => candidate !== name && outputs.has(candidate));
    const present = renamed ??
      presentOf(graph.nodes.find(({ inputs }) => inputs.includes(name)), name);
    if (present !== undefined && outputs.has(present)) return { past: name, present };
    throw new BadInputError(
      `Cannot generate: no output of the model continues its cache input "${name}"`,
    );
  });
}

/**
 * Whether every cache may be one buffer that a run reads and writes: other inputs give
 * GroupQueryAttention the filled length of a cache, and it writes only after that. No other node may
 * read the cache, or its length.
 */
export function cachesShareBuffers(graph: Graph, pairs: readonly CachePair[]): boolean {
  return pairs.length > 0 && pairs.every(({ past, present }) => {
    const readers = graph.nodes.filter((node) => node.inputs.includes(past));
    const alsoReads = graph.nodes.some((node) => node.inputs.includes(present));
    return readers.length === 1 && !alsoReads && presentOf(readers[0], past) === present;
  });
}

/** The output of an attention node that continues the cache it reads. */
function presentOf(node: Node | undefined, past: string): string | undefined {
  if (node?.opType !== "GroupQueryAttention" || node.domain !== MICROSOFT) return undefined;
  // Its inputs 3 and 4 are the past key and value, its outputs 1 and 2 the present ones.
  return node.outputs[node.inputs.indexOf(past) - 2];
}
