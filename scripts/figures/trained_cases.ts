import { resolveValues } from "../../src/cli/config.ts";
import { processTerminal } from "../../src/cli/output.ts";
import { TRAIN_FLAGS, type TrainFlags } from "../../src/cli/train_flags.ts";
import { type OwnParts, setUpTraining } from "../../src/cli/train_setup.ts";

/** What figures on a training step are taken of: a language model and a classifier, with their data. */
export function trainedCases(shared: string) {
  return [
    {
      model: `${shared}/models/smollm2-135m-instruct-int4`,
      data: `${shared}/data/e2e/bench512.jsonl`,
      batchSize: 8,
    },
    {
      model: `${shared}/models/all-minilm-l6-v2-int8`,
      data: `${shared}/data/banking77/train.csv`,
      batchSize: 32,
    },
  ] as const;
}

const silent = { ...processTerminal(), note: () => {} };

/** A training set up as `graft train` does it with these flags, without its notes. */
export function quietTraining(values: Readonly<Record<string, unknown>>, own?: OwnParts) {
  const flags = resolveValues(TRAIN_FLAGS, values).values as unknown as TrainFlags;
  return setUpTraining(flags, silent, own);
}
