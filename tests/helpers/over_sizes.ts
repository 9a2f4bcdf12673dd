/** Graphs that are built over a batch's sizes, against those built at a batch. */
import { assertEquals } from "@std/assert";
import { pullback } from "../../src/autodiff/pullback.ts";
import { boundGraph } from "../../src/graph/bind_graph.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { bytesText } from "../../src/graph/graph_text.ts";
import { type Extent, Sizes } from "../../src/graph/size.ts";
import type { Tensor } from "../../src/graph/tensor.ts";
import type { Graph } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";

const SIZES = ["batch", "length", "rows"] as const;
export const HERE = new Map<string, number>([["batch", 8], ["length", 40], ["rows", 600]]);
/** None is a multiple of another. As here, constants of a row each have too many elements to be folded. */
export const THERE = new Map<string, number>([["batch", 5], ["length", 67], ["rows", 521]]);

/** The sizes of a graph. */
export type Shape = Readonly<Record<typeof SIZES[number], Extent>>;

/** Emits nodes and returns the names of results, the first to be differentiated. */
export type Emit = (b: GraphBuilder, sizes: Shape) => readonly string[];

function graphOf(emit: Emit, sizes: Shape): Graph {
  const b = new GraphBuilder(inferTraining);
  const results = emit(b, sizes);
  const [y] = results;
  if (b.known(y).dtype !== "float32") return b.build("graph", results);
  const floats = b.build("inputs", []).inputs.filter(({ type }) => type!.dtype === "float32")
    .map(({ name }) => name);
  const seed = b.input("cotangent", "float32", b.shape(y));
  const found = pullback(b, [...b.nodes], new Map([[y, seed]]), new Set(floats));
  return b.build("graph", [...results, ...[...found.values()].filter((ct) => ct !== undefined)]);
}

const textOf = ({ dtype, dims, bytes }: Tensor) => `${dtype}[${dims}]${bytesText(bytes)}`;

/** All of a graph but which of its constants are equal by chance. */
export function comparable({ inputs, outputs, nodes, initializers, valueInfo }: Graph) {
  const computed = new Set(nodes.flatMap((node) => node.outputs));
  const names = new Map(
    [...inputs.map(({ name }) => name), ...computed].map((name, i) => [name, `v${i}`]),
  );
  const nameOf = (name: string) =>
    initializers.has(name) ? textOf(initializers.get(name)!) : names.get(name) ?? name;
  return {
    inputs,
    outputs: outputs.map(({ name, type }) => [nameOf(name), type]),
    nodes: nodes.map(({ opType, inputs, outputs, attributes }) => [
      ...[opType, inputs.map(nameOf), attributes],
      outputs.map((name) => [nameOf(name), valueInfo.get(name)?.type]),
    ]),
  };
}

const numbers = (values: ReadonlyMap<string, number>) =>
  Object.fromEntries(SIZES.map((name) => [name, values.get(name)!])) as unknown as Shape;

const ABOUT_SMALL = / <= (4096|256)$/;

/**
 * What is built and differentiated over sizes is at two batches what is built at these.
 *
 * @param asked questions about sizes beside those about the symbols themselves, and beside whether
 *   something is small enough to be folded or summed by a product
 */
export function assertBuildsAtEveryBatch(emit: Emit, asked?: readonly string[]): void {
  const sizes = new Sizes(HERE);
  const shape = Object.fromEntries(
    SIZES.map((name) => [name, sizes.symbol(name)]),
  ) as unknown as Shape;
  const before = sizes.decisions.length;
  const graph = graphOf(emit, shape);
  const found = sizes.decisions.slice(before).map(({ text }) => text);
  if (asked !== undefined) assertEquals(found.filter((text) => !ABOUT_SMALL.test(text)), asked);
  for (const values of [HERE, THERE]) {
    const bound = sizes.at(values);
    if (bound === undefined) throw new Error(`It settles ${JSON.stringify(sizes.decisions)}`);
    assertEquals(
      comparable(boundGraph(graph, bound)),
      comparable(graphOf(emit, numbers(values))),
    );
  }
}
