/** Views of tensors under other dimensions. */
import { sizedView } from "./extents.ts";
import { type Tensor, tensor } from "./tensor.ts";
import { watchedView } from "./watched.ts";

/** A tensor of the same bytes under other dimensions. */
export function reshaped(t: Tensor, dims: readonly number[]): Tensor {
  return sizedView(t, dims) ?? watchedView(t, dims) ?? tensor(t.dtype, dims, t.bytes);
}
