/** Tensors that report when their contents are read. */
import type { Tensor } from "./tensor.ts";

/** The data of a watched tensor. */
interface Watch {
  readonly source: Tensor;
  readonly onRead: () => void;
}

const watches = new WeakMap<Tensor, Watch>();

/**
 * A watched tensor: reading its contents is reported, reading its type and dimensions is not.
 *
 * @param onRead called when the contents are read
 * @param dims of a view of the same bytes; default the tensor's own
 */
export function watched(
  source: Tensor,
  onRead: () => void,
  dims: readonly number[] = source.dims,
): Tensor {
  const tensor: Tensor = {
    dtype: source.dtype,
    dims,
    get bytes() {
      onRead();
      return source.bytes;
    },
  };
  watches.set(tensor, { source, onRead });
  return tensor;
}

/** The same bytes, watched in the same way, with other dimensions; `undefined` for an unwatched tensor. */
export function watchedView(tensor: Tensor, dims: readonly number[]): Tensor | undefined {
  const watch = watches.get(tensor);
  return watch && watched(watch.source, watch.onRead, dims);
}

/** The watched tensor itself, or the one that it is a view of; `undefined` for an unwatched tensor. */
export function sourceOf(tensor: Tensor): Tensor | undefined {
  return watches.get(tensor)?.source;
}

/** The same tensor without the watch. */
export function unwatched(tensor: Tensor): Tensor {
  const source = sourceOf(tensor);
  return source === undefined ? tensor : { ...source, dims: tensor.dims };
}
