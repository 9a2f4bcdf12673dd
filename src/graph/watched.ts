/** Tensors that tell when their contents are looked at. */
import type { Tensor } from "./tensor.ts";

/** What is behind a tensor under watch. */
interface Watch {
  readonly source: Tensor;
  readonly onRead: () => void;
}

const watches = new WeakMap<Tensor, Watch>();

/**
 * The tensor under watch: its type and dimensions are free to read, its contents are not.
 *
 * @param onRead called whenever something looks at the contents
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

/** The same bytes, under the same watch, with other dimensions; `undefined` for one without watch. */
export function watchedView(tensor: Tensor, dims: readonly number[]): Tensor | undefined {
  const watch = watches.get(tensor);
  return watch && watched(watch.source, watch.onRead, dims);
}

/** The tensor itself, or the one that it is a view of, of one under watch; `undefined` for any other. */
export function sourceOf(tensor: Tensor): Tensor | undefined {
  return watches.get(tensor)?.source;
}

/** Like the tensor, but free to read. */
export function unwatched(tensor: Tensor): Tensor {
  const source = sourceOf(tensor);
  return source === undefined ? tensor : { ...source, dims: tensor.dims };
}
