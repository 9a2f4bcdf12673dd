/** Settings of the processes that a service's job starts, from the flags of its verb. */
import { columnsOf } from "../../data/data_config.ts";
import { parseConfig } from "../../config/file.ts";
import type { FineTuneConfig } from "../../finetune/config.ts";
import { FINE_TUNE_PARAMETERS } from "../../finetune/parameters.ts";
import type { ChildSettings } from "../../service/child_steps.ts";
import { claimForRound } from "../../service/training_turns.ts";
import type { Log } from "../../system/journal_log.ts";
import { DATA_FLAGS } from "../data_flags.ts";
import { wordsOf } from "../flag_words.ts";
import { readTextFile } from "../../system/small_file.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";

/** Share of the prompts to hold out where neither data nor configuration say. */
const VALIDATION_SPLIT = 0.1;

interface ChildFlags {
  readonly model: string;
  readonly data: string;
  readonly trainConfig?: string;
}

/**
 * The settings.
 *
 * @param given keys of the flags that were given
 * @param folder of the service
 */
export function childSettings(
  flags: ChildFlags,
  given: ReadonlySet<string>,
  folder: string,
  log: Log,
): ChildSettings {
  const { model, data } = flags;
  const trainConfig = flags.trainConfig === undefined ? "{}\n" : readTextFile(flags.trainConfig);
  const config = parseConfig(
    trainConfig,
    FINE_TUNE_PARAMETERS,
    flags.trainConfig ?? "the defaults",
  );
  return {
    ...{ model, data, trainConfig },
    columns: columnsOf(config as Partial<FineTuneConfig>),
    validationSplit: Number(config.validationSplit ?? VALIDATION_SPLIT),
    runtimeFlags: wordsOf({ ...flags }, Object.keys(RUNTIME_FLAGS).filter((key) => given.has(key))),
    claimTurn: (signal) =>
      claimForRound(
        folder,
        signal,
        () => log("notice", "Waits for a fine-tuning job to save a checkpoint"),
      ),
    dataFlags: wordsOf(config, Object.keys(DATA_FLAGS)),
  };
}
