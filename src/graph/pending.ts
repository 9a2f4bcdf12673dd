/** Initializers with a known type and contents that are computed later. */
import type { DataType } from "./dtype.ts";
import { elementCount, type Tensor } from "./tensor.ts";
import type { Model } from "./types.ts";

const NO_BYTES = new Uint8Array();

/** A tensor without contents, so that a graph can be complete before its weights are. */
export function pendingTensor(dtype: DataType, dims: readonly number[]): Tensor {
  return { dtype, dims, bytes: NO_BYTES };
}

/** Whether a tensor's contents are computed later. */
export function isPending(t: Tensor): boolean {
  return t.bytes === NO_BYTES && elementCount(t.dims) > 0;
}

/** The model with some initializers' contents replaced, in the same order. */
export function withTensors(model: Model, tensors: ReadonlyMap<string, Tensor>): Model {
  const initializers = new Map(
    [...model.graph.initializers].map(([name, old]) => [name, tensors.get(name) ?? old]),
  );
  return { ...model, graph: { ...model.graph, initializers } };
}
