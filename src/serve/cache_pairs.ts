/** Which output of a model continues which cache of keys or values. */
import { BadInputError } from "../errors.ts";
import { type Graph, MICROSOFT, type Node } from "../graph/types.ts";
import { isCache } from "../plan/inputs.ts";

/** A cache input and the output that holds its next value. */
export interface CachePair {
  readonly past: string;
  readonly present: string;
}

/**
 * `past_key_values.N.key` goes with `present.N.key`, as exporters name them, else by the attention
 * node.
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
 * Whether every cache may be one buffer that a run reads and writes: GroupQueryAttention is told by
 * its other inputs how much of a cache is filled, and writes only behind that. Nothing else may
 * look at the cache, its length included.
 */
export function cachesShareBuffers(graph: Graph, pairs: readonly CachePair[]): boolean {
  return pairs.length > 0 && pairs.every(({ past, present }) => {
    const readers = graph.nodes.filter((node) => node.inputs.includes(past));
    const alsoReads = graph.nodes.some((node) => node.inputs.includes(present));
    return readers.length === 1 && !alsoReads && presentOf(readers[0], past) === present;
  });
}

/** The output of an attention node that is the successor of the cache it reads. */
function presentOf(node: Node | undefined, past: string): string | undefined {
  if (node?.opType !== "GroupQueryAttention" || node.domain !== MICROSOFT) return undefined;
  // Its inputs 3 and 4 are the past key and value, its outputs 1 and 2 the present ones.
  return node.outputs[node.inputs.indexOf(past) - 2];
}
