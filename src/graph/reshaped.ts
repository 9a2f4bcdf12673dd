/** Views of tensors under other dimensions. */
import { sizedView } from "./extents.ts";
import { Parameter } from "./parameter.ts";
import { type Tensor, tensor } from "./tensor.ts";

/** A tensor of the same bytes under other dimensions. */
export function reshaped(t: Tensor, dims: readonly number[]): Tensor {
  if (t instanceof Parameter) return new Parameter(t.name, t.weight, t.read, dims);
  return sizedView(t, dims) ?? tensor(t.dtype, dims, t.bytes);
}
