/** The configuration that a run leaves beside its adapter, and what a resume takes from it. */
import { join } from "@std/path";
import { UsageError } from "../errors.ts";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import { exists } from "../system/durable_files.ts";
import { parseConfig } from "../config/file.ts";
import { kebab } from "../config/parameter.ts";
import { readTextFile } from "./read.ts";
import { TRAIN_FLAGS, type TrainFlags } from "./train_flags.ts";

/** Name of the resolved configuration beside the adapter. */
export const CONFIG_FILE = "graft_config.yaml";
const CHECKPOINTS = "checkpoints";

/** Where a run's checkpoints are, in the adapter's folder. */
export const checkpointsOf = ({ adapterPath }: Pick<TrainFlags, "adapterPath">) =>
  join(adapterPath, CHECKPOINTS);

/**
 * The configuration that `--resume` goes on with where `--config` names none.
 *
 * @param given flags of the command line
 * @throws {UsageError} where there is nothing to go on with
 */
export function configToResume(
  given: Readonly<Partial<Pick<TrainFlags, "resume" | "adapterPath">>>,
): string | undefined {
  if (!given.resume) return undefined;
  const adapterPath = given.adapterPath ?? TRAIN_FLAGS.adapterPath.default!;
  if (!hasCheckpoints(checkpointsOf({ adapterPath }))) throw nothingToResume(adapterPath);
  const path = join(adapterPath, CONFIG_FILE);
  return exists(path) ? path : undefined;
}

export function nothingToResume(adapterPath: string): UsageError {
  return new UsageError(
    `Cannot resume: ${adapterPath} has no whole checkpoint (--adapter-path names the run's folder; ` +
      "a relative one begins at the current folder)",
  );
}

/** Flags that steer what the steps to come do, and that a resume may change. */
const STEERING = [
  "learningRate",
  "lrSchedule",
  "warmupSteps",
  "lrDecaySteps",
  "lrEnd",
  "weightDecay",
  "maxGradNorm",
  "epochs",
  "iters",
] as const;

/** What a resumed run does otherwise than it began: `--learning-rate 0.0005 (was 0.0001)`. */
export function changedSettings(flags: TrainFlags): string[] {
  const path = join(flags.adapterPath, CONFIG_FILE);
  if (!exists(path)) return [];
  const saved = parseConfig(readTextFile(path), TRAIN_FLAGS, path);
  return STEERING.flatMap((key) => {
    const [now, before] = [flags[key], saved[key] ?? TRAIN_FLAGS[key].default];
    return now === before
      ? []
      : [`--${kebab(key)} ${now ?? "not given"} (was ${before ?? "not given"})`];
  });
}
