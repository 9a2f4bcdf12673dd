/**
 * Adapters that read one activation multiply it by their A as one matrix, x·[A₁; A₂]ᵀ, then split.
 *
 * A rank is less than what kernels compute at once, so that a product of more columns costs the same,
 * and each product of its own reads and packs all of x, on the way back too.
 */
import { int, ints, intsAttribute } from "../graph/attributes.ts";
import { dimsIn, producersOf } from "../graph/facts.ts";
import { prune } from "../graph/passes/prune.ts";
import { int64 } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { verify } from "../graph/verify.ts";

/** A product x·Aᵀ. */
interface Down {
  readonly node: Node;
  /** A, [rank, in]. */
  readonly matrix: string;
}

/**
 * @param lowered graph of concrete shapes
 * @param trainable initializers that change
 */
export function joinAdapters(lowered: Graph, trainable: ReadonlySet<string>): Graph {
  const valueInfo = new Map(lowered.valueInfo);
  const initializers = new Map(lowered.initializers);
  const replaced = new Map<Node, readonly Node[]>();
  for (const [x, downs] of downsByInput(lowered, trainable)) {
    if (downs.length < 2) continue;
    const outputs = downs.map(({ node }) => node.outputs[0]);
    const ranks = downs.map(({ matrix }) => dimsIn(lowered, matrix)[0]);
    const rank = ranks.reduce((sum, one) => sum + one, 0);
    const lead = dimsIn(lowered, x).slice(0, -1);
    const width = dimsIn(lowered, x).at(-1)!;
    const name = `${outputs[0]}.joined`;
    const [matrix, turned, sizes] = [`${name}.A`, `${name}.A.turned`, `${name}.ranks`];
    const declare = (value: string, shape: readonly number[]) =>
      void valueInfo.set(value, { name: value, type: { dtype: "float32", shape } });
    declare(matrix, [rank, width]);
    declare(turned, [width, rank]);
    declare(name, [...lead, rank]);
    initializers.set(sizes, int64([ranks.length], ranks));
    replaced.set(downs[0].node, [
      made("Concat", downs.map((down) => down.matrix), [matrix], { axis: int(0) }),
      made("Transpose", [matrix], [turned], { perm: ints([1, 0]) }),
      made("MatMul", [x, turned], [name]),
      made("Split", [name, sizes], outputs, { axis: int(-1) }),
    ]);
    for (const { node } of downs.slice(1)) replaced.set(node, []);
  }
  if (replaced.size === 0) return lowered;
  const nodes = lowered.nodes.flatMap((node) => replaced.get(node) ?? [node]);
  return verify(prune({ ...lowered, nodes, valueInfo, initializers }), "joinAdapters()");
}

function downsByInput(
  lowered: Graph,
  trainable: ReadonlySet<string>,
): ReadonlyMap<string, readonly Down[]> {
  const producers = producersOf(lowered.nodes);
  const found = new Map<string, Down[]>();
  for (const node of lowered.nodes) {
    if (node.opType !== "MatMul" || node.domain !== "") continue;
    const [x, right] = node.inputs;
    const turned = producers.get(right);
    if (turned?.opType !== "Transpose" || intsAttribute(turned, "perm", [1, 0]).join() !== "1,0") {
      continue;
    }
    const [matrix] = turned.inputs;
    if (!trainable.has(matrix) || dimsIn(lowered, matrix).length !== 2) continue;
    const down = { node, matrix };
    const downs = found.get(x);
    if (downs === undefined) found.set(x, [down]);
    else downs.push(down);
  }
  return found;
}

function made(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Node["attributes"] = {},
): Node {
  return { name: outputs[0], opType, domain: "", inputs, outputs, attributes };
}
