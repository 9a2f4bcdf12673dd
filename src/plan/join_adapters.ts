/**
 * Joins adapters that read the same activation: it is multiplied by their A as one matrix, x·[A₁; A₂]ᵀ, and
 * the result is split.
 *
 * A rank is smaller than what kernels compute at once, so a product with more columns costs the same, whereas
 * separate products each read and pack all of x, in the backward pass too.
 */
import { int, intAttribute, ints } from "../graph/attributes.ts";
import { asDims } from "../graph/extents.ts";
import { dimsIn, producersOf, shapeIn } from "../graph/facts.ts";
import { node } from "../graph/node.ts";
import { prune } from "../graph/passes/prune.ts";
import type { Extent } from "../graph/size.ts";
import { int64 } from "../graph/tensor.ts";
import type { Graph, Node } from "../graph/types.ts";
import { transposedMatrix } from "../ops/transpose.ts";

/** A product x·Aᵀ. */
interface Down {
  readonly x: string;
  /** A, [rank, in]. */
  readonly matrix: string;
  /** The initializers that A is joined from: one, or trained rows and frozen ones. */
  readonly parts: readonly string[];
  readonly product: Node;
}

/**
 * @param lowered graph of known shapes
 * @param trainable initializers that training changes
 */
export function joinAdapters(lowered: Graph, trainable: ReadonlySet<string>): Graph {
  const valueInfo = new Map(lowered.valueInfo);
  const initializers = new Map(lowered.initializers);
  const replaced = new Map<Node, readonly Node[]>();
  for (const [x, downs] of Map.groupBy(downsOf(lowered, trainable), (down) => down.x)) {
    if (downs.length < 2) continue;
    const outputs = downs.map((down) => down.product.outputs[0]);
    const ranks = downs.map(({ matrix }) => dimsIn(lowered, matrix)[0]);
    const rank = ranks.reduce((sum, one) => sum + one, 0);
    const lead = shapeIn(lowered, x).slice(0, -1);
    const width = shapeIn(lowered, x).at(-1)!;
    const name = `${outputs[0]}.joined`;
    const [matrix, transposed, sizes] = [`${name}.A`, `${name}.A.transposed`, `${name}.ranks`];
    const declare = (value: string, shape: readonly Extent[]) =>
      void valueInfo.set(value, { name: value, type: { dtype: "float32", shape: asDims(shape) } });
    declare(matrix, [rank, width]);
    declare(transposed, [width, rank]);
    declare(name, [...lead, rank]);
    initializers.set(sizes, int64([ranks.length], ranks));
    replaced.set(downs[0].product, [
      node("Concat", downs.flatMap((down) => down.parts), matrix, { axis: int(0) }),
      node("Transpose", [matrix], transposed, { perm: ints([1, 0]) }),
      node("MatMul", [x, transposed], name),
      { ...node("Split", [name, sizes], `${name}.split`, { axis: int(-1) }), outputs },
    ]);
    for (const { product } of downs.slice(1)) replaced.set(product, []);
  }
  if (replaced.size === 0) return lowered;
  const nodes = lowered.nodes.flatMap((given) => replaced.get(given) ?? [given]);
  return prune({ ...lowered, nodes, valueInfo, initializers });
}

function downsOf(lowered: Graph, trainable: ReadonlySet<string>): readonly Down[] {
  const producers = producersOf(lowered.nodes);
  return lowered.nodes.flatMap((product) => {
    if (product.opType !== "MatMul" || product.domain !== "") return [];
    const [x, right] = product.inputs;
    const matrix = transposedMatrix(producers.get(right));
    if (matrix === undefined || dimsIn(lowered, matrix).length !== 2) return [];
    const rows = producers.get(matrix);
    const parts = rows?.opType === "Concat" && intAttribute(rows, "axis", 0) === 0
      ? rows.inputs
      : [matrix];
    const isTrained = parts.some((name) => trainable.has(name)) &&
      parts.every((name) => trainable.has(name) || lowered.initializers.has(name));
    return isTrained ? [{ x, matrix, parts, product }] : [];
  });
}
