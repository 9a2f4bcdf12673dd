/** Drift of an adapter over the checkpoints of its training. */
import { join } from "@std/path";
import type { MatrixAnalysis, StepDrift } from "../analysis/analysis.ts";
import { svdOfUpdate } from "../analysis/low_rank_update.ts";
import { BadInputError } from "../errors.ts";
import { frobenius } from "../linalg/matrix.ts";
import { loraName } from "../lora/mod.ts";
import { listCheckpoints, readParameters } from "../train/checkpoint_files.ts";
import { matrixOfTensor } from "./matrix_of_tensor.ts";

/**
 * ‖ΔW‖/‖W‖ over all analysed matrices at each checkpoint that is there, oldest first. Checkpoints that are
 * not whole, or of other modules, are left out.
 *
 * @param folder of the adapter
 * @param adapter its position in the analysis
 */
export function driftOverSteps(
  folder: string,
  matrices: readonly MatrixAnalysis[],
  adapter: number,
): readonly StepDrift[] {
  const whole = Math.hypot(...matrices.map(({ norm }) => norm));
  return listCheckpoints(join(folder, "checkpoints")).toReversed().flatMap(({ path, step }) => {
    try {
      const parameters = readParameters(path);
      const norms = matrices.flatMap(({ path, updates, rows, cols }) => {
        const [a, b] = [parameters.get(loraName(path, "A")), parameters.get(loraName(path, "B"))];
        const update = updates[adapter];
        if (update === null) return [];
        if (a?.dims[1] !== cols || b?.dims[0] !== rows || a.dims[0] !== b.dims[1]) {
          throw new BadInputError(`${path} is not in the checkpoint`);
        }
        const { scale } = update;
        return frobenius(svdOfUpdate({ a: matrixOfTensor(a), b: matrixOfTensor(b), scale }).s);
      });
      return [{ step, drift: whole === 0 ? 0 : Math.hypot(...norms) / whole }];
    } catch (error) {
      if (error instanceof BadInputError) return [];
      throw error;
    }
  });
}
