/** Drift of an adapter over the checkpoints of its training. */
import { join } from "@std/path";
import type { MatrixAnalysis, StepDrift } from "../analysis/analysis.ts";
import { byLayer } from "../analysis/layer_drift.ts";
import { svdOfUpdate } from "../analysis/low_rank_update.ts";
import { BadInputError } from "../errors.ts";
import { frobenius } from "../linalg/matrix.ts";
import { besideFrozen } from "../lora/initial_product.ts";
import { loraName, type LoraWeights } from "../lora/mod.ts";
import { listCheckpoints, readParameters } from "../train/checkpoint_files.ts";
import { matrixOfTensor } from "./matrix_of_tensor.ts";

/**
 * ‖ΔW‖/‖W‖ at each checkpoint that is there, oldest first: of all analysed matrices, and of each layer.
 * Checkpoints that are not whole, or of other modules, are left out.
 *
 * @param folder of the adapter
 * @param saved its matrices, by module path: a checkpoint has only those that are trained
 * @param adapter its position in the analysis
 */
export function driftOverSteps(
  folder: string,
  saved: ReadonlyMap<string, LoraWeights>,
  matrices: readonly MatrixAnalysis[],
  adapter: number,
): readonly StepDrift[] {
  return listCheckpoints(join(folder, "checkpoints")).toReversed().flatMap(({ path, step }) => {
    try {
      const parameters = readParameters(path);
      const changes = matrices.flatMap(({ path, layer, norm, updates, rows, cols }) => {
        const [a, b] = [parameters.get(loraName(path, "A")), parameters.get(loraName(path, "B"))];
        const update = updates[adapter];
        if (update === null) return [{ layer, norm, change: 0 }];
        const whole = b && besideFrozen({ a, b }, saved.get(path)!);
        if (
          whole?.a.dims[1] !== cols || whole.b.dims[0] !== rows ||
          whole.a.dims[0] !== whole.b.dims[1]
        ) {
          throw new BadInputError(`${path} is not in the checkpoint`);
        }
        const { scale } = update;
        const { s } = svdOfUpdate({
          a: matrixOfTensor(whole.a),
          b: matrixOfTensor(whole.b),
          scale,
        });
        return [{ layer, norm, change: frobenius(s) }];
      });
      const layers = byLayer(changes).map(([, own]) => relativeChange(own));
      return [{ step, drift: relativeChange(changes), layers }];
    } catch (error) {
      if (error instanceof BadInputError) return [];
      throw error;
    }
  });
}

/** The change of matrices together, relative to them; 0 if all are zero. */
function relativeChange(
  matrices: readonly { readonly norm: number; readonly change: number }[],
): number {
  const whole = Math.hypot(...matrices.map(({ norm }) => norm));
  return whole === 0 ? 0 : Math.hypot(...matrices.map(({ change }) => change)) / whole;
}
