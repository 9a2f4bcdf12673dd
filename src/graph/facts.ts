/** Element type and dimensions of a graph's values, wherever the graph states them. */
import type { DataType } from "./dtype.ts";
import type { Graph } from "./types.ts";

/** A value of known, concrete shape. */
export interface ConcreteType {
  readonly dtype: DataType;
  readonly dims: readonly number[];
}

/** The type of a value of a lowered graph, whose shapes are concrete; `undefined` for an unknown name. */
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
