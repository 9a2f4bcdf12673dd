/** Checks before any work: the files of an earlier run, and data that is missing. */
import { ParameterError } from "../errors.ts";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import type { FineTuneConfig } from "./config.ts";
import { checkpointsOf, nothingToResume } from "./saved_config.ts";

/**
 * Refuses to overwrite another run, and to resume a run that does not exist; of several boards, only the
 * first one has a run's files.
 *
 * @throws {ParameterError} naming the folder of the other run
 */
export function checkRuns(config: FineTuneConfig): void {
  if (!config.train) return;
  const where = config.adapterPath;
  const found = hasCheckpoints(checkpointsOf(config));
  if (config.resume && !found) throw nothingToResume(where);
  if (!found || config.resume || config.overwrite) return;
  throw new ParameterError(
    "adapterPath",
    (name) =>
      `${where} has checkpoints of an earlier run: ${name("resume", true)} goes on with it, ` +
      `${name("overwrite", true)} drops them, ${name("adapterPath")} names another folder`,
  );
}

/** Which data there is besides the training data. */
export interface HeldOut {
  readonly validation?: unknown;
  readonly test?: unknown;
}

/**
 * Refuses parameters that need missing data.
 *
 * @throws {ParameterError} naming the parameter
 */
export function checkHeldOut({ validation, test }: HeldOut, config: FineTuneConfig): void {
  if (config.test && test === undefined) {
    throw new ParameterError(
      "test",
      (name) => `${name("test", true)} needs a test file in the data folder`,
    );
  }
  if (config.patience > 0 && (validation === undefined || config.valBatches === 0)) {
    throw new ParameterError(
      "patience",
      (name) =>
        `${name("patience")} needs validation data: a valid file in the data folder or ` +
        name("validationSplit"),
    );
  }
}
