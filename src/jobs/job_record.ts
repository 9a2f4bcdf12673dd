/** A fine-tuning job as it is kept on the disk. */
import { BadInputError } from "../errors.ts";

/** States, in OpenAI's words; the last three are final. */
const JOB_STATES = [
  "validating_files",
  "queued",
  "running",
  "paused",
  "succeeded",
  "failed",
  "cancelled",
] as const;
export type JobState = (typeof JOB_STATES)[number];

/** What a job trains with: parameters of `graft train` by key. */
export interface JobParameters {
  readonly epochs?: number;
  readonly batchSize?: number;
  readonly learningRate?: number;
  readonly rank?: number;
  readonly loraAlpha?: number;
  readonly loraDropout?: number;
  readonly targetModules?: readonly string[];
  readonly seed?: number;
}

export interface JobRecord {
  /** `ftjob-…` */
  readonly id: string;
  readonly state: JobState;
  /** Name of the base in requests. */
  readonly model: string;
  /** Ends the name of the trained model. */
  readonly suffix?: string;
  /** Ids of uploaded files. */
  readonly trainingFile: string;
  readonly validationFile?: string;
  readonly parameters: JobParameters;
  /** Seconds since 1970. */
  readonly created: number;
  readonly finished?: number;
  /** Why it failed. */
  readonly error?: string;
  /** Name of the trained model, once it has succeeded. */
  readonly trainedModel?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

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
 * @param path for the message
 * @throws {BadInputError} for a file that is no job
 */
export function parseJob(text: string, path: string): JobRecord {
  try {
    const record = JSON.parse(text) as JobRecord;
    if (isId(record.id) && JOB_STATES.includes(record.state)) return record;
  } catch {
    // The message below says all.
  }
  throw new BadInputError(`${path} is not a fine-tuning job: remove its folder`);
}
