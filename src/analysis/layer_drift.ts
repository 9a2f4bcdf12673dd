/** Drift of whole layers. */
import type { LayerDrift, MatrixAnalysis } from "./analysis.ts";

/** ‖ΔW‖/‖W‖ of each layer, in the order of the layers, those without a number last. */
export function layerDrift(
  matrices: readonly MatrixAnalysis[],
  adapters: number,
): readonly LayerDrift[] {
  return byLayer(matrices).map(([layer, own]) => ({
    layer,
    drift: Array.from({ length: adapters }, (_, i) => driftOf(own, i)),
  }));
}

/** Matrices by layer, in the order of the layers, those without a number last. */
export function byLayer<M extends Pick<MatrixAnalysis, "layer">>(
  matrices: readonly M[],
): readonly (readonly [number | null, readonly M[]])[] {
  return [...Map.groupBy(matrices, ({ layer }) => layer)]
    .sort(([a], [b]) => (a ?? Infinity) - (b ?? Infinity));
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
