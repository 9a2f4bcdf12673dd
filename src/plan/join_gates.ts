/**
 * silu(g) ⊙ u becomes one {@linkcode swiglu} operator, whose derivative takes a pass less than those of
 * the two.
 */
import { dimsIn, producersOf, readersOf } from "../graph/facts.ts";
import { prune } from "../graph/passes/prune.ts";
import type { Graph, Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";
import { swigluNode } from "../ops/internal/swiglu.ts";
import { isSilu } from "./silu.ts";

/** @param lowered graph of concrete shapes, SiLU as `fuse()` leaves it */
export function joinGates(lowered: Graph): Graph {
  const producers = producersOf(lowered.nodes);
  const readers = readersOf(lowered);
  /** g, where a value is silu(g), of the shape of `up`, and nothing but one node reads it. */
  const gateOf = (value: string, up: string): string | undefined => {
    const made = producers.get(value);
    if (made === undefined || !isSilu(made) || readers.get(value)!.length > 1) return undefined;
    return dimsIn(lowered, value).join() === dimsIn(lowered, up).join()
      ? made.inputs[0]
      : undefined;
  };
  let joined = false;
  const nodes = lowered.nodes.map((node): Node => {
    if (node.opType !== "Mul" || node.domain !== "") return node;
    const [a, b] = node.inputs;
    for (const [activated, up] of [[a, b], [b, a]]) {
      const gate = gateOf(activated, up);
      if (gate === undefined) continue;
      joined = true;
      return { ...node, ...swigluNode(gate, up) };
    }
    return node;
  });
  return joined ? verify(prune({ ...lowered, nodes }), "joinGates()") : lowered;
}
