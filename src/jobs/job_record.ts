/** A fine-tuning job as it is kept on the disk. */
import * as v from "valibot";
import { readRecord } from "./read_record.ts";

/** What a job trains with: parameters of `graft train` by key. */
const jobParameters = v.object({
  epochs: v.optional(v.number()),
  batchSize: v.optional(v.number()),
  learningRate: v.optional(v.number()),
  rank: v.optional(v.number()),
  loraAlpha: v.optional(v.number()),
  loraDropout: v.optional(v.number()),
  targetModules: v.optional(v.pipe(v.array(v.string()), v.readonly())),
  seed: v.optional(v.number()),
});

export type JobParameters = Readonly<v.InferOutput<typeof jobParameters>>;

const jobRecord = v.object({
  /** `ftjob-…` */
  id: v.string(),
  /** In OpenAI's words; the last three are final. */
  state: v.picklist([
    "validating_files",
    "queued",
    "running",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
  ]),
  /** Name of the base in requests. */
  model: v.string(),
  /** Ends the name of the trained model. */
  suffix: v.optional(v.string()),
  /** Ids of uploaded files. */
  trainingFile: v.string(),
  validationFile: v.optional(v.string()),
  parameters: jobParameters,
  /** Seconds since 1970. */
  created: v.number(),
  finished: v.optional(v.number()),
  /** Why it failed. */
  error: v.optional(v.string()),
  /** Name of the trained model, once it has succeeded. */
  trainedModel: v.optional(v.string()),
  metadata: v.optional(v.pipe(v.record(v.string(), v.string()), v.readonly())),
});

export type JobRecord = Readonly<v.InferOutput<typeof jobRecord>>;

/** Whether a job has ended. */
export function isFinal({ state }: Pick<JobRecord, "state">): boolean {
  return state === "succeeded" || state === "failed" || state === "cancelled";
}

/** A random id after a prefix; safe as the name of a file. */
export function newId(prefix: string): string {
  return `${prefix}-${crypto.getRandomValues(new Uint8Array(12)).toHex()}`;
}

const ID = /^(ftjob|file)-[0-9a-f]{24}$/;

/** Whether a text is an id that {@linkcode newId} makes. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/**
 * @param path in the job's folder
 * @returns `undefined` if there is no such file
 * @throws {BadInputError} for a file that is no job, or no regular file
 * @throws {StorageError} if it cannot be read
 */
export function readJob(path: string): JobRecord | undefined {
  return readRecord(path, jobRecord);
}
