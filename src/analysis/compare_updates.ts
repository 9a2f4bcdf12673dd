/** Compares two updates of one matrix element by element. */
import { type LowRankUpdate, rowOfUpdate } from "./low_rank_update.ts";

/** What two updates of one matrix have in common. */
export interface UpdateComparison {
  /** ⟨ΔW₁, ΔW₂⟩ / (‖ΔW₁‖·‖ΔW₂‖); null if one is zero. */
  readonly cosine: number | null;
  /** Share of the elements where both change something and the signs differ; null without any. */
  readonly signConflicts: number | null;
  /** ‖ΔW₁ + ΔW₂‖_F. */
  readonly sumNorm: number;
  /** √(‖ΔW₁‖² + ‖ΔW₂‖²), which the sum has if the updates are orthogonal. */
  readonly orthogonalNorm: number;
  /** ‖ΔW₁‖ + ‖ΔW₂‖, which the sum has if the updates point the same way. */
  readonly alignedNorm: number;
}

/** Compares two updates of one size, a row at a time. */
export function compareUpdates(one: LowRankUpdate, other: LowRankUpdate): UpdateComparison {
  const [rows, cols] = [one.b.rows, one.a.cols];
  const [x, y] = [new Float64Array(cols), new Float64Array(cols)];
  let [xx, yy, xy, sum, both, conflicts] = [0, 0, 0, 0, 0, 0];
  for (let n = 0; n < rows; n++) {
    rowOfUpdate(one, n, x);
    rowOfUpdate(other, n, y);
    for (let k = 0; k < cols; k++) {
      const [a, b] = [x[k], y[k]];
      const product = a * b;
      xx += a * a;
      yy += b * b;
      xy += product;
      sum += (a + b) ** 2;
      if (a !== 0 && b !== 0) both++;
      if (product < 0) conflicts++;
    }
  }
  const [p, q] = [Math.sqrt(xx), Math.sqrt(yy)];
  return {
    cosine: p === 0 || q === 0 ? null : xy / (p * q),
    signConflicts: both === 0 ? null : conflicts / both,
    sumNorm: Math.sqrt(sum),
    orthogonalNorm: Math.sqrt(xx + yy),
    alignedNorm: p + q,
  };
}
