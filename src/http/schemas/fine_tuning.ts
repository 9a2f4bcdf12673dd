/** Requests of `/v1/fine_tuning/jobs`. */
import * as v from "valibot";
import { unsupported } from "./refused.ts";
import { integer, maybe, number } from "./values.ts";

const auto = v.literal("auto");
const fileId = v.pipe(v.string(), v.regex(/^file-[0-9a-f]{24}$/, "must be the id of a file"));

const hyperparameters = v.object({
  n_epochs: maybe(v.union([auto, integer(1, 1000)])),
  batch_size: maybe(v.union([auto, integer(1, 1024)])),
  learning_rate_multiplier: maybe(
    v.union([auto, v.pipe(v.number(), v.gtValue(0), v.maxValue(1000))]),
  ),
});

export const fineTuningRequest = v.object({
  model: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
  training_file: fileId,
  validation_file: maybe(fileId),
  suffix: maybe(
    v.pipe(v.string(), v.regex(/^[\w.-]{1,64}$/, "must be of letters, digits and . - _")),
  ),
  seed: maybe(integer(0, 2 ** 31 - 1)),
  hyperparameters: maybe(hyperparameters),
  method: maybe(v.object({
    type: v.literal("supervised"),
    supervised: maybe(v.object({ hyperparameters: maybe(hyperparameters) })),
  })),
  metadata: maybe(v.record(
    v.pipe(v.string(), v.maxLength(64)),
    v.pipe(v.string(), v.maxLength(512)),
  )),
  /** The adapter, in mlx-lm's words. */
  lora_parameters: maybe(v.object({
    rank: maybe(integer(1, 1024)),
    alpha: maybe(number(0, 1e6)),
    dropout: maybe(number(0, 0.99)),
    keys: maybe(v.pipe(
      v.array(v.pipe(v.string(), v.regex(/^[\w.*-]{1,256}$/, "must be a module's name"))),
      v.minLength(1),
      v.maxLength(1024),
    )),
  })),
  integrations: unsupported(v.pipe(v.array(v.unknown()), v.maxLength(0))),
});

export type FineTuningRequest = v.InferOutput<typeof fineTuningRequest>;
