/** Facts about a graph's values: element type, dimensions, producers and readers. */
import type { DataType } from "./dtype.ts";
import { extentsOf } from "./extents.ts";
import { productOf } from "./extent_arithmetic.ts";
import type { Extent } from "./size.ts";
import type { Graph, Node } from "./types.ts";

/** A value of known shape. */
export interface ConcreteType {
  readonly dtype: DataType;
  readonly dims: readonly number[];
}

/** The type of a value of a lowered graph, whose shapes are known; `undefined` for an unknown name. */
export function typeIn(graph: Graph, value: string): ConcreteType | undefined {
  const constant = graph.initializers.get(value);
  if (constant !== undefined) return { dtype: constant.dtype, dims: constant.dims };
  const type = (graph.valueInfo.get(value) ?? graph.inputs.find((input) => input.name === value))
    ?.type;
  return type && { dtype: type.dtype, dims: (type.shape ?? []) as readonly number[] };
}

/** The dimensions of a value; none for an unknown name. */
export function dimsIn(graph: Graph, value: string): readonly number[] {
  return typeIn(graph, value)?.dims ?? [];
}

/** The dimensions of a value, some of which may follow from a batch's sizes; none for an unknown name. */
export function shapeIn(graph: Graph, value: string): readonly Extent[] {
  return extentsOf(dimsIn(graph, value));
}

/** The number of elements of a value. */
export function countIn(graph: Graph, value: string): Extent {
  return productOf(shapeIn(graph, value));
}

/** Names of all values of a graph. */
export function valueNames(
  { inputs, initializers, nodes }: Pick<Graph, "inputs" | "initializers" | "nodes">,
): Set<string> {
  return new Set([
    ...inputs.map(({ name }) => name),
    ...initializers.keys(),
    ...nodes.flatMap(({ outputs }) => outputs),
  ]);
}

/** A name that is not taken, derived from `hint`. */
export function freeName(taken: ReadonlySet<string>, hint: string): string {
  let name = hint;
  for (let i = 1; taken.has(name); i++) name = `${hint}.${i}`;
  return name;
}

/** The node that computes each value. */
export function producersOf(nodes: readonly Node[]): ReadonlyMap<string, Node> {
  return new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
}

/** The nodes that read each value; `undefined` among them stands for the reader of the graph's outputs. */
export function readersOf(
  { nodes, outputs }: Graph,
): ReadonlyMap<string, readonly (Node | undefined)[]> {
  const readers = new Map<string, (Node | undefined)[]>();
  const add = (name: string, node: Node | undefined) => {
    const found = readers.get(name);
    if (found === undefined) readers.set(name, [node]);
    else found.push(node);
  };
  for (const node of nodes) for (const input of node.inputs) add(input, node);
  for (const { name } of outputs) add(name, undefined);
  return readers;
}
