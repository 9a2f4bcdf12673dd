/** Binds graphs over sizes to one batch. */
import { extentsOf, tensorAt } from "./extents.ts";
import type { BoundSizes } from "./size.ts";
import type { Graph, ValueInfo } from "./types.ts";

/** Dimensions at a batch. */
export function boundDims(dims: readonly number[], bound: BoundSizes): readonly number[] {
  const extents = extentsOf(dims);
  return extents === dims ? dims : extents.map((extent) => bound.of(extent));
}

/**
 * A lowered graph bound to a batch: all its shapes are numbers, and nothing in it follows from sizes.
 *
 * @param bound sizes at a batch that the graph serves ({@linkcode Sizes.at})
 */
export function boundGraph(graph: Graph, bound: BoundSizes): Graph {
  const info = ({ name, type }: ValueInfo): ValueInfo => ({
    name,
    type: type && {
      dtype: type.dtype,
      shape: type.shape && boundDims(type.shape as readonly number[], bound),
    },
  });
  return {
    ...graph,
    inputs: graph.inputs.map(info),
    outputs: graph.outputs.map(info),
    valueInfo: new Map([...graph.valueInfo].map(([name, value]) => [name, info(value)])),
    initializers: new Map(
      [...graph.initializers].map(([name, value]) => [
        name,
        tensorAt(value, bound),
      ]),
    ),
  };
}
