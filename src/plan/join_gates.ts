/**
 * Replaces silu(g) ⊙ u by one {@linkcode swiglu} operator, whose derivative takes one pass less than those of
 * the two.
 */
import { dimsIn, producersOf, readersOf } from "../graph/facts.ts";
import { prune } from "../graph/passes/prune.ts";
import type { Graph, Node } from "../graph/types.ts";
import { sameDims } from "../ops/broadcast.ts";
import { swigluNode } from "../ops/internal/swiglu.ts";
import { isSilu } from "./silu.ts";

/** @param lowered graph of known shapes, with SiLU as `fuse()` leaves it */
export function joinGates(lowered: Graph): Graph {
  const producers = producersOf(lowered.nodes);
  const readers = readersOf(lowered);
  /** g, where a value is silu(g), has the shape of `up` and is read by one node only. */
  const gateOf = (value: string, up: string): string | undefined => {
    const made = producers.get(value);
    if (made === undefined || !isSilu(made) || readers.get(value)!.length > 1) return undefined;
    return sameDims(dimsIn(lowered, value), dimsIn(lowered, up)) ? made.inputs[0] : undefined;
  };
  const joined = (node: Node): Node | undefined => {
    if (node.opType !== "Mul" || node.domain !== "") return undefined;
    for (const [activated, up] of [node.inputs, node.inputs.toReversed()]) {
      const gate = gateOf(activated, up);
      if (gate !== undefined) return { ...node, ...swigluNode(gate, up) };
    }
    return undefined;
  };
  const nodes = lowered.nodes.map((node) => joined(node) ?? node);
  return prune({ ...lowered, nodes });
}
