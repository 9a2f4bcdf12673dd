/**
 * Cuts a graph into pieces that run one after the other, so that its weights are never needed at the
 * same time.
 */
import { readBy } from "./passes/prune.ts";
import type { Tensor } from "./tensor.ts";
import type { Graph, Node } from "./types.ts";

/** Nodes that run together, in a graph's order. */
export interface Piece {
  readonly nodes: readonly Node[];
  /** The graph's inputs and values of earlier pieces that its nodes read. */
  readonly reads: readonly string[];
  /** Its values that later pieces read or that are wanted. */
  readonly makes: readonly string[];
  readonly initializers: ReadonlyMap<string, Tensor>;
}

/**
 * Cuts a graph. A value that does not depend on the graph's inputs is computed in each piece that reads
 * it, not passed: kernels require constants (MatMulNBits with `accuracy_level` 4 accepts no other
 * scales), and the runtime folds such values when it loads a piece.
 *
 * @param weightBytes most bytes of a piece's initializers, unless a single node reads more
 * @param wanted values to compute
 * @param isRandom whether a node gives another result in each run
 * @returns the pieces in the order in which they run
 */
export function piecesOf(
  graph: Pick<Graph, "nodes" | "inputs" | "initializers">,
  weightBytes: number,
  wanted: Iterable<string>,
  isRandom: (node: Node) => boolean,
): Piece[] {
  const { nodes, inputs, initializers } = graph;
  const later = new Set(wanted);
  const fixed = fixedNodes(graph, later, isRandom);
  // A branch's own values have names too, and absent ones have an empty name.
  const passing = new Set([
    ...inputs.map(({ name }) => name),
    ...nodes.flatMap(({ outputs }) => outputs).filter((name) => name !== ""),
  ]);
  const makers = new Set(fixed.values());
  const others = nodes.filter((node) => !makers.has(node));
  const ranges = cut(others, initializers, fixed, weightBytes);
  return ranges.reverse().map((range): Piece => {
    const made = new Set(range.nodes.flatMap(({ outputs }) => outputs));
    const makes = [...made].filter((name) => later.has(name));
    const reads = [...range.read].filter((name) =>
      passing.has(name) && !made.has(name) && !fixed.has(name) && !initializers.has(name)
    );
    for (const name of reads) later.add(name);
    return {
      nodes: [...nodes.filter((node) => range.fixed.has(node)), ...range.nodes],
      reads,
      makes,
      initializers: new Map([...initializers].filter(([name]) => range.read.has(name))),
    };
  }).reverse();
}

/** The nodes whose results are always the same, by result name, without the wanted ones. */
function fixedNodes(
  { nodes, inputs, initializers }: Pick<Graph, "nodes" | "inputs" | "initializers">,
  wanted: ReadonlySet<string>,
  isRandom: (node: Node) => boolean,
): ReadonlyMap<string, Node> {
  const given = new Set(inputs.map(({ name }) => name));
  const fixed = new Map<string, Node>();
  for (const node of nodes) {
    const { inputs, outputs, attributes } = node;
    const hasBranch = Object.values(attributes).some(({ kind }) => kind === "graph");
    if (hasBranch || isRandom(node) || outputs.some((name) => wanted.has(name))) continue;
    const isKnown = (name: string) =>
      name === "" || fixed.has(name) || initializers.has(name) && !given.has(name);
    if (!inputs.every(isKnown)) continue;
    for (const name of outputs) if (name !== "") fixed.set(name, node);
  }
  return fixed;
}

/** A range of nodes that becomes a piece. */
interface NodeRange {
  readonly nodes: readonly Node[];
  /** Nodes of fixed results that these read. */
  readonly fixed: ReadonlySet<Node>;
  /** All names that either read. */
  readonly read: ReadonlySet<string>;
}

function cut(
  nodes: readonly Node[],
  initializers: ReadonlyMap<string, Tensor>,
  fixed: ReadonlyMap<string, Node>,
  weightBytes: number,
): NodeRange[] {
  const empty = () => ({ nodes: [] as Node[], fixed: new Set<Node>(), read: new Set<string>() });
  const ranges: ReturnType<typeof empty>[] = [];
  let bytes = Infinity;
  for (const node of nodes) {
    let needed = behind(node, fixed, ranges.at(-1) ?? empty());
    const sizeOf = () =>
      [...needed.read].reduce((sum, name) => sum + (initializers.get(name)?.bytes.length ?? 0), 0);
    if (bytes + sizeOf() > weightBytes && (sizeOf() > 0 || ranges.length === 0)) {
      ranges.push(empty());
      bytes = 0;
      needed = behind(node, fixed, empty());
    }
    const range = ranges.at(-1)!;
    bytes += sizeOf();
    range.nodes.push(node);
    for (const name of needed.read) range.read.add(name);
    for (const maker of needed.fixed) range.fixed.add(maker);
  }
  return ranges;
}

/**
 * The values that a node reads and the nodes of fixed results that compute them, beyond those of a
 * range.
 */
function behind(
  node: Node,
  fixed: ReadonlyMap<string, Node>,
  has: Pick<NodeRange, "fixed" | "read">,
): Pick<NodeRange, "fixed" | "read"> {
  const found = { fixed: new Set<Node>(), read: new Set<string>() };
  const open = [node];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const name of readBy(next)) {
      if (has.read.has(name) || found.read.has(name)) continue;
      found.read.add(name);
      const maker = fixed.get(name);
      if (maker === undefined || has.fixed.has(maker) || found.fixed.has(maker)) continue;
      found.fixed.add(maker);
      open.push(maker);
    }
  }
  return found;
}
