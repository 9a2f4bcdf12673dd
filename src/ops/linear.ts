/** Linear layers whose weight is frozen: one Gemm over all tokens. */
import { int } from "../graph/attributes.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { productOf } from "../graph/extent_arithmetic.ts";

/**
 * `x · wᵀ (+ bias)` over the last dimension of `x`.
 *
 * A Gemm that reads the weight transposed runs at the speed of a MatMul (fp32, 1024 rows), and
 * so does the gradient with respect to `x`, which reads the same bytes untransposed.
 *
 * @param x [..., K]
 * @param w [N, K]
 * @param bias [N]
 * @returns [..., N]
 */
export function frozenLinear(b: GraphBuilder, x: string, w: string, bias?: string): string {
  const dims = b.shape(x);
  const [n, k] = b.dims(w);
  const leading = dims.slice(0, -1);
  const rows = b.reshape(x, [productOf(leading), k]);
  const y = b.op("Gemm", bias === undefined ? [rows, w] : [rows, w, bias], { transB: int(1) });
  return b.reshape(y, [...leading, n]);
}
