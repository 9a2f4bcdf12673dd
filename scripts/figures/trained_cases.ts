import { type FineTuneInput, resolveConfig } from "../../src/finetune/mod.ts";
import type { OwnParts } from "../../src/finetune/own_parts.ts";
import { prepareTraining } from "../../src/finetune/prepare_training.ts";

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

/** A training prepared as `graft train` does it with this configuration, without its notes. */
export function quietTraining(input: FineTuneInput, own?: OwnParts) {
  return prepareTraining(resolveConfig(input), { own });
}
