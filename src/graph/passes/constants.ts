/** Finds the values of a graph that do not depend on its inputs. */
import { tensorAttribute } from "../attributes.ts";
import type { Tensor } from "../tensor.ts";
import type { Graph } from "../types.ts";

/** Tensors of initializers and `Constant` nodes. */
export function constantsOf(graph: Graph): ReadonlyMap<string, Tensor> {
  const constants = new Map(graph.initializers);
  for (const node of graph.nodes) {
    const value = node.opType === "Constant" ? tensorAttribute(node, "value") : undefined;
    if (value !== undefined) constants.set(node.outputs[0], value);
  }
  return constants;
}

/** Values that depend only on initializers and on the values named in `also`. */
export function constantValues(
  graph: Pick<Graph, "initializers" | "nodes">,
  also: readonly string[] = [],
): Set<string> {
  const constants = new Set([...graph.initializers.keys(), ...also]);
  for (const n of graph.nodes) {
    if (!n.inputs.every((input) => input === "" || constants.has(input))) continue;
    for (const output of n.outputs) constants.add(output);
  }
  return constants;
}
