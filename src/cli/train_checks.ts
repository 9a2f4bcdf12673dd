/** What `graft train` refuses before the work: flags that contradict each other, or what is there. */
import { UsageError } from "../errors.ts";
import { checkAdapterName } from "../hub/adapter_store.ts";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import { prefixCacheBytes } from "./prefix_cache.ts";
import { checkpointsOf, nothingToResume } from "./resumed_config.ts";
import type { TrainSetup } from "./run_training.ts";
import type { TrainFlags } from "./train_flags.ts";

/**
 * Refuses what neither model nor data would mend.
 *
 * @throws {UsageError} naming the flags, or the folder of another run
 */
export function checkFlags(flags: TrainFlags): void {
  if (flags.saveAs !== undefined) checkAdapterName(flags.saveAs);
  if (!flags.train && !flags.test) {
    throw new UsageError("There is nothing to do: --no-train needs --test");
  }
  prefixCacheBytes(flags.prefixCache);
  if (flags.iters !== undefined && flags.epochs !== undefined) {
    throw new UsageError(
      `Give --epochs or --iters, not both: current values are ${flags.epochs} and ${flags.iters}`,
    );
  }
  if (flags.train) checkOtherRuns(flags);
}

function checkOtherRuns(flags: TrainFlags): void {
  const where = flags.adapterPath;
  const found = hasCheckpoints(checkpointsOf(flags));
  if (flags.resume && !found) throw nothingToResume(where);
  if (found && !flags.resume && !flags.overwrite) {
    throw new UsageError(
      `${where} has checkpoints of an earlier run: --resume goes on with it, --overwrite drops them, ` +
        `--adapter-path names another folder`,
    );
  }
}

/**
 * Refuses flags that need data which is not there.
 *
 * @throws {UsageError} naming the flag
 */
export function checkParts(setup: Pick<TrainSetup, "test" | "validation">, flags: TrainFlags) {
  if (flags.test && setup.test === undefined) {
    throw new UsageError("--test needs a test file in the data folder");
  }
  if (flags.patience > 0 && (setup.validation === undefined || flags.valBatches === 0)) {
    throw new UsageError(
      "--patience needs validation data: a valid file in the data folder or --validation-split",
    );
  }
}
