/** The configuration that a run leaves beside its adapter, and what a resume takes from it. */
import { join } from "@std/path";
import { fileValues, formatConfig, parseConfig } from "../config/file.ts";
import type { Parameter } from "../config/parameter.ts";
import { launchedBy } from "../distributed/launcher.ts";
import { ParameterError } from "../errors.ts";
import { exists, replaceFile } from "../system/durable_files.ts";
import { readSmallText } from "../system/small_file.ts";
import { hasCheckpoints } from "../train/checkpoint_files.ts";
import type { FineTuneConfig, FineTuneInput } from "./config.ts";
import type { ChangedSetting } from "./events.ts";
import { FINE_TUNE_PARAMETERS } from "./parameters.ts";

/** Name of the resolved configuration beside the adapter. */
export const CONFIG_FILE = "graft_config.yaml";
const CHECKPOINTS = "checkpoints";

/** Where a run's checkpoints are, in the adapter's folder. */
export const checkpointsOf = ({ adapterPath }: Pick<FineTuneConfig, "adapterPath">) =>
  join(adapterPath, CHECKPOINTS);

const valuesOf = (config: FineTuneConfig) => config as unknown as Record<string, unknown>;

/** @throws {StorageError} if it cannot be written */
export function saveConfig(config: FineTuneConfig): void {
  replaceFile(
    join(config.adapterPath, CONFIG_FILE),
    new TextEncoder().encode(formatConfig(valuesOf(config), FINE_TUNE_PARAMETERS)),
  );
}

/** A configuration under the keys of its file, as in an adapter's card. */
export const configValues = (config: FineTuneConfig): Record<string, unknown> =>
  fileValues(valuesOf(config), FINE_TUNE_PARAMETERS);

/**
 * The file of the configuration that a run into this folder began with; `undefined` if it has none, as on
 * other boards than the first one of a job.
 *
 * @throws {ParameterError} if there is no run to resume
 */
export function configFileOf(adapterPath: string): string | undefined {
  if (!hasCheckpoints(checkpointsOf({ adapterPath }))) {
    if (launchedBy((name) => Deno.env.get(name)) !== undefined) return undefined;
    throw nothingToResume(adapterPath);
  }
  const path = join(adapterPath, CONFIG_FILE);
  return exists(path) ? path : undefined;
}

/**
 * The configuration that resumes a run as it was begun.
 *
 * @param adapterPath the run's folder
 * @param changes parameters that change for the rest of the run: steps, learning rate, reports
 * @throws {ParameterError} if there is no run to resume
 * @throws {UsageError} if its configuration cannot be read, naming the file
 */
export function resumedConfig(
  adapterPath: string,
  changes: Partial<FineTuneInput> = {},
): FineTuneInput {
  const path = configFileOf(adapterPath);
  const saved = path === undefined ? {} : readConfig(path);
  return { ...saved, ...changes, adapterPath, resume: true } as FineTuneInput;
}

/** @throws {UsageError} if a key is unknown or a value does not fit, naming the file */
function readConfig(path: string): Record<string, unknown> {
  return parseConfig(readSmallText(path) ?? "", FINE_TUNE_PARAMETERS, path);
}

export function nothingToResume(adapterPath: string): ParameterError {
  return new ParameterError(
    "adapterPath",
    (name) =>
      `Cannot resume: ${adapterPath} has no whole checkpoint (${name("adapterPath")} names the ` +
      "run's folder; a relative one begins at the current folder)",
  );
}

/** Parameters that steer only the steps to come, and that a resume may change. */
const STEERING = [
  "learningRate",
  "lrSchedule",
  "warmupSteps",
  "lrDecaySteps",
  "lrEnd",
  "loraplusLrRatio",
  "weightDecay",
  "maxGradNorm",
  "epochs",
  "iters",
] as const;

/** The settings in which a resumed run differs from its start. */
export function changedSettings(config: FineTuneConfig): readonly ChangedSetting[] {
  const path = join(config.adapterPath, CONFIG_FILE);
  if (!exists(path)) return [];
  const saved = readConfig(path);
  return STEERING.flatMap((parameter) => {
    const [now, before] = [config[parameter], saved[parameter] ?? defaultOf(parameter)];
    return now === before ? [] : [{ parameter, now, before }];
  });
}

function defaultOf(key: typeof STEERING[number]): unknown {
  const parameter: Parameter = FINE_TUNE_PARAMETERS[key];
  return parameter.default;
}
