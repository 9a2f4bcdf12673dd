/** Views of tensors under other dimensions. */
import { entriesOf, int64Of, isSized } from "./extents.ts";
import { type Tensor, tensor } from "./tensor.ts";
import { watchedView } from "./watched.ts";

/** A tensor of the same bytes under other dimensions. */
export function reshaped(t: Tensor, dims: readonly number[]): Tensor {
  if (isSized(t)) return int64Of(dims, entriesOf(t)!);
  return watchedView(t, dims) ?? tensor(t.dtype, dims, t.bytes);
}
