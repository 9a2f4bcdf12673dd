/** Cuts a graph into pieces that run one after the other, so that its weights are never needed all at once. */
import { readBy } from "./passes/prune.ts";
import type { Tensor } from "./tensor.ts";
import type { Graph, Node } from "./types.ts";

/** Nodes that run together, in a graph's order. */
export interface Piece {
  readonly nodes: readonly Node[];
  /** The graph's inputs and values of earlier pieces that its nodes read. */
  readonly reads: readonly string[];
  /** What later pieces read of it, and what is wanted of the graph. */
  readonly makes: readonly string[];
  readonly initializers: ReadonlyMap<string, Tensor>;
}

/**
 * @param weightBytes that the initializers of a piece may have, unless a single node reads more
 * @param wanted values that the nodes make and that are asked for
 * @returns the pieces in the order in which they run; a Constant is in each that reads it
 */
export function piecesOf(
  { nodes, inputs, initializers }: Pick<Graph, "nodes" | "inputs" | "initializers">,
  weightBytes: number,
  wanted: Iterable<string>,
): Piece[] {
  const constants = new Map(
    nodes.filter(isConstant).map((node) => [node.outputs[0], node]),
  );
  // A branch's own values have names, too, and what is left out has an empty one.
  const passing = new Set([
    ...inputs.map(({ name }) => name),
    ...nodes.flatMap(({ outputs }) => outputs).filter((name) => name !== ""),
  ]);
  const stretches = cut(nodes.filter((node) => !isConstant(node)), initializers, weightBytes);
  const later = new Set(wanted);
  return stretches.reverse().map((stretch): Piece => {
    const made = new Set(stretch.flatMap(({ outputs }) => outputs));
    const read = new Set(stretch.flatMap((node) => [...readBy(node)]));
    const makes = [...made].filter((name) => later.has(name));
    const own = [...read].flatMap((name) => constants.get(name) ?? []);
    const reads = [...read].filter((name) =>
      passing.has(name) && !made.has(name) && !constants.has(name) && !initializers.has(name)
    );
    for (const name of reads) later.add(name);
    return {
      nodes: [...own, ...stretch],
      reads,
      makes,
      initializers: new Map([...initializers].filter(([name]) => read.has(name))),
    };
  }).reverse();
}

const isConstant = ({ opType, domain }: Node) => opType === "Constant" && domain === "";

function cut(
  nodes: readonly Node[],
  initializers: ReadonlyMap<string, Tensor>,
  weightBytes: number,
): Node[][] {
  const stretches: Node[][] = [];
  let held = new Set<string>();
  let bytes = Infinity;
  for (const node of nodes) {
    const fresh = [...readBy(node)].filter((name) => initializers.has(name) && !held.has(name));
    const more = fresh.reduce((sum, name) => sum + initializers.get(name)!.bytes.byteLength, 0);
    if (bytes + more > weightBytes && (more > 0 || stretches.length === 0)) {
      stretches.push([]);
      held = new Set();
      bytes = 0;
    }
    stretches.at(-1)!.push(node);
    for (const name of fresh) held.add(name);
    bytes += more;
  }
  return stretches;
}
