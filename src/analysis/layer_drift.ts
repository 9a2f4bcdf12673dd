/** Drift of whole layers. */
import type { LayerDrift, MatrixAnalysis } from "./analysis.ts";

/** ‖ΔW‖/‖W‖ of each layer, in the order of the layers, those without a number last. */
export function layerDrift(
  matrices: readonly MatrixAnalysis[],
  adapters: number,
): readonly LayerDrift[] {
  const byLayer = new Map<number | null, MatrixAnalysis[]>();
  for (const matrix of matrices) {
    byLayer.set(matrix.layer, [...byLayer.get(matrix.layer) ?? [], matrix]);
  }
  const order = [...byLayer.keys()].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
  return order.map((layer) => ({
    layer,
    drift: Array.from({ length: adapters }, (_, i) => driftOf(byLayer.get(layer)!, i)),
  }));
}

/** ‖ΔW‖/‖W‖ of matrices together; 0 if all are zero. */
export function driftOf(matrices: readonly MatrixAnalysis[], adapter: number): number {
  let [changed, whole] = [0, 0];
  for (const { norm, updates } of matrices) {
    whole += norm ** 2;
    changed += (updates[adapter]?.norm ?? 0) ** 2;
  }
  return whole === 0 ? 0 : Math.sqrt(changed / whole);
}
