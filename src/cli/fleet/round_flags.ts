/** Flags of a box's part in the rounds of a fleet, and what they say of its training. */
import { resolve } from "@std/path";
import { parseConfig } from "../../config/file.ts";
import { UsageError } from "../../errors.ts";
import { type BoxSettings, checkFleetTraining } from "../../fleet/rounds/box_config.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneConfig } from "../../finetune/mod.ts";
import { DEFAULT_MODEL } from "../../model/carried_model.ts";
import { wordsOf } from "../flag_words.ts";
import { integer, text, type Values } from "../flags.ts";
import { BASE_TEXT } from "../models/model_text.ts";
import { readTextFile } from "../../system/small_file.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";
import { TRAIN_FLAGS } from "../train/train_flags.ts";

const TRAINING = "Training";

/** Where the state of a fleet is kept. */
export const STATE_FLAG = {
  state: text(
    "Folder of the box's key, tasks and replies; STATE_DIRECTORY, which systemd sets, if absent",
    {
      placeholder: "DIR",
    },
  ),
} as const;

/** What a box trains with. */
export const ROUND_FLAGS = {
  model: text(BASE_TEXT, {
    short: "m",
    placeholder: "DIR",
    default: DEFAULT_MODEL,
    group: TRAINING,
  }),
  data: text("Folder with this box's rows, as graft train takes it, or one file", {
    placeholder: "PATH",
    group: TRAINING,
  }),
  trainConfig: text(
    "YAML file with flags of `graft train`; what a round's message says overrides them",
    { placeholder: "FILE", group: TRAINING },
  ),
  rank: integer("This box's own rank, where the fleet stacks adapters; the fleet's if absent", {
    min: 1,
    short: "r",
    group: TRAINING,
  }),
  savePath: text("Folder in which the fleet's adapter is kept as it comes, as PEFT's files", {
    placeholder: "DIR",
    group: TRAINING,
  }),
  validationSplit: { ...TRAIN_FLAGS.validationSplit, default: 0.1, group: TRAINING },
  memoryBudget: { ...TRAIN_FLAGS.memoryBudget, group: TRAINING },
  window: { ...TRAIN_FLAGS.window, group: TRAINING },
  maxTemperature: { ...TRAIN_FLAGS.maxTemperature, group: TRAINING },
  minBattery: { ...TRAIN_FLAGS.minBattery, group: TRAINING },
  ...RUNTIME_FLAGS,
} as const;

type RoundFlags = Values<typeof ROUND_FLAGS>;

/** Flags that are parameters of a training. */
const PARAMETERS = [
  ...["validationSplit", "memoryBudget", "window", "maxTemperature", "minBattery"],
  ...Object.keys(RUNTIME_FLAGS),
];

/** @throws {UsageError} if nothing says where the state is */
export function fleetState({ state }: Values<typeof STATE_FLAG>): string {
  const folder = state ?? Deno.env.get("STATE_DIRECTORY");
  if (folder !== undefined) return resolve(folder);
  throw new UsageError("graft fleet needs a folder for the box's key and tasks: --state DIR");
}

/**
 * What the box trains with.
 *
 * @throws {UsageError} for parameters that cannot be used, or without data
 */
export function boxSettings(flags: RoundFlags, given: ReadonlySet<string>): BoxSettings {
  const { model, data, rank, trainConfig } = flags;
  if (data === undefined) {
    throw new UsageError("A box of a fleet needs rows to learn from: --data PATH");
  }
  const fromFile = trainConfig === undefined
    ? {}
    : parseConfig(readTextFile(trainConfig), FINE_TUNE_PARAMETERS, trainConfig);
  const own = PARAMETERS.filter((key) => given.has(key))
    .map((key) => [key, flags[key as keyof RoundFlags]]);
  const training: Partial<FineTuneConfig> = { ...fromFile, ...Object.fromEntries(own) };
  checkFleetTraining(training);
  return { model, data, rank, training };
}

/** The flags that were given, for the process that trains. */
export function roundWords(flags: RoundFlags, given: ReadonlySet<string>): string[] {
  return wordsOf(flags, Object.keys(ROUND_FLAGS).filter((key) => given.has(key)));
}
