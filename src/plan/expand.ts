/** Replaces operators that exist only in graft's own graphs by ONNX Runtime's. */
import { GraphBuilder, type Known } from "../graph/builder.ts";
import type { Graph, Node } from "../graph/types.ts";
import { GRAFT } from "../graph/types.ts";
import { inferTraining, ruleOf } from "../ops/registry.ts";

/** Nodes with their expansions, and the constants and facts that these added. */
export interface Expanded {
  readonly nodes: readonly Node[];
  readonly initializers: Graph["initializers"];
  /** Facts of every value that the nodes read or compute; `undefined` for any other. */
  readonly known: (name: string) => Known | undefined;
}

/**
 * Expands the nodes of a piece of graph. What expansions share is computed once.
 *
 * @param nodes in topological order
 * @param known facts of every value of the piece
 */
export function expand(
  nodes: readonly Node[],
  initializers: Graph["initializers"],
  known: (name: string) => Known | undefined,
): Expanded {
  if (!nodes.some(({ domain }) => domain === GRAFT)) return { nodes, initializers, known };
  const b = new GraphBuilder(inferTraining);
  b.reserve(nodes.flatMap((node) => [...node.inputs, ...node.outputs]));
  const constants = new Map(initializers);
  for (const node of nodes) {
    for (const input of node.inputs) {
      if (input === "" || b.has(input)) continue;
      const constant = initializers.get(input);
      if (constant !== undefined) b.initializer(input, constant);
      else b.input(input, known(input)!.dtype, known(input)!.dims);
    }
    if (node.domain !== GRAFT) b.add(node);
    else ruleOf(node).expand!(b, node); // every rule of that domain has one
  }
  for (const [name, value] of b.build("expanded", []).initializers) constants.set(name, value);
  return {
    nodes: b.nodes,
    initializers: constants,
    known: (name) => b.has(name) ? b.known(name) : known(name),
  };
}
