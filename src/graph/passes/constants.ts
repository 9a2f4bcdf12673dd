/** Which values of a graph do not depend on its inputs. */
import type { Graph } from "../types.ts";

/** Values that depend on initializers, and on the values named in `also`, alone. */
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
