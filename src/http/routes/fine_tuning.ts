/** `/v1/fine_tuning/jobs`: trains adapters on uploaded files. */
import type { Context } from "hono";
import { FINE_TUNE_PARAMETERS } from "../../finetune/parameters.ts";
import { isFinal, type JobParameters, type JobRecord } from "../../jobs/job_record.ts";
import type { JobEvent } from "../../jobs/event_log.ts";
import type { JobCheckpoint, Jobs } from "../../jobs/jobs.ts";
import type { StoredFile } from "../../jobs/file_store.ts";
import { ApiError } from "../api_error.ts";
import { parseBody } from "../parse_body.ts";
import { type FineTuningRequest, fineTuningRequest } from "../schemas/fine_tuning.ts";
import { chosenModel } from "../served_model.ts";
import { fineTuningOf, type Handler, type ServerParts } from "../server_parts.ts";

/** What a learning rate multiplier multiplies: the default of `graft train`. */
const LEARNING_RATE = FINE_TUNE_PARAMETERS.learningRate.default;
const MOST_LISTED = 100;
const LISTED = 20;

export function createJob(parts: ServerParts): Handler {
  return async (context) => {
    const { base, jobs, files } = fineTuningOf(parts);
    const request = await parseBody(context, fineTuningRequest);
    if (request.model !== base) {
      // An adapter, or what a round has promoted: their rounded weights are nothing to train.
      const { id } = chosenModel(parts.models, request.model);
      throw new ApiError(400, `Jobs train ${base}, not ${id}: name ${base}`, { param: "model" });
    }
    const file = (param: "training_file" | "validation_file", id: string): StoredFile => {
      const found = files.get(id);
      if (found !== undefined) return found;
      throw new ApiError(400, `There is no file ${id}`, { param, code: "file_not_found" });
    };
    const record = jobs.create({
      model: base,
      suffix: request.suffix ?? undefined,
      trainingFile: file("training_file", request.training_file),
      validationFile: request.validation_file
        ? file("validation_file", request.validation_file)
        : undefined,
      parameters: parametersOf(request),
      metadata: request.metadata ?? undefined,
    });
    return context.json(jobJson(record));
  };
}

function parametersOf(request: FineTuningRequest): JobParameters {
  const given = request.method?.supervised?.hyperparameters ?? request.hyperparameters ?? {};
  const number = (value: number | "auto" | null | undefined) =>
    typeof value === "number" ? value : undefined;
  const multiplier = number(given.learning_rate_multiplier);
  const { rank, alpha, dropout, keys } = request.lora_parameters ?? {};
  return {
    epochs: number(given.n_epochs),
    batchSize: number(given.batch_size),
    learningRate: multiplier && multiplier * LEARNING_RATE,
    rank: rank ?? undefined,
    loraAlpha: alpha ?? undefined,
    loraDropout: dropout ?? undefined,
    targetModules: keys ?? undefined,
    seed: request.seed ?? undefined,
  };
}

export function listJobs(parts: ServerParts): Handler {
  return (context) => {
    const all = fineTuningOf(parts).jobs.list();
    return context.json(pageOf(all.map((record) => jobJson(record)), asked(context)));
  };
}

export function getJob(parts: ServerParts): Handler {
  return (context) => context.json(jobJson(found(parts, context).record));
}

/** Cancels, pauses or resumes a job, if it is in one of the states. */
function change(
  what: "cancel" | "pause" | "resume",
  isPossible: (record: JobRecord) => boolean,
): (parts: ServerParts) => Handler {
  return (parts) => (context) => {
    const { jobs, record } = found(parts, context);
    if (!isPossible(record)) {
      throw new ApiError(400, `Cannot ${what} a job that is ${record.state}`, {
        code: "invalid_job_state",
      });
    }
    return context.json(jobJson(jobs[what](record)));
  };
}

export const cancelJob = change("cancel", (record) => !isFinal(record));
export const pauseJob = change("pause", ({ state }) => state === "queued" || state === "running");
export const resumeJob = change("resume", ({ state }) => state === "paused");

export function jobEvents(parts: ServerParts): Handler {
  return (context) => {
    const { jobs, record } = found(parts, context);
    const { limit, after } = asked(context);
    const newest = jobs.events(record).newest(limit, after);
    if (newest === undefined) throw noSuchItem(after);
    return context.json(page(newest.events.map(eventJson), newest.hasMore));
  };
}

export function jobCheckpoints(parts: ServerParts): Handler {
  return (context) => {
    const { jobs, record } = found(parts, context);
    const all = jobs.checkpoints(record).map((checkpoint) => checkpointJson(record, checkpoint));
    return context.json(pageOf(all, asked(context)));
  };
}

function found(parts: ServerParts, context: Context): { jobs: Jobs; record: JobRecord } {
  const { jobs } = fineTuningOf(parts);
  const id = context.req.param("job") ?? "";
  const record = jobs.get(id);
  if (record !== undefined) return { jobs, record };
  throw new ApiError(404, `There is no fine-tuning job ${JSON.stringify(id)}`, {
    code: "job_not_found",
  });
}

/** The part of a list that is asked for. */
interface Asked {
  /** The most items. */
  readonly limit: number;
  /** Id of the item before the first one. */
  readonly after?: string;
}

function asked(context: Context): Asked {
  const limit = Number(context.req.query("limit") ?? LISTED);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED) {
    throw new ApiError(400, `limit must be in 1 to ${MOST_LISTED}`, { param: "limit" });
  }
  return { limit, after: context.req.query("after") };
}

function pageOf<T extends { readonly id: string }>(all: readonly T[], { limit, after }: Asked) {
  const before = all.findIndex(({ id }) => id === after);
  if (after !== undefined && before < 0) throw noSuchItem(after);
  const start = before + 1;
  return page(all.slice(start, start + limit), start + limit < all.length);
}

/** Clients that page through a list would begin anew, without end, with its first page for an answer. */
const noSuchItem = (after: string | undefined) =>
  new ApiError(400, `There is nothing with the id ${JSON.stringify(after)} in this list`, {
    param: "after",
  });

/** Part of a list as OpenAI's clients expect it. */
const page = <T extends { readonly id: string }>(data: readonly T[], hasMore: boolean) => ({
  object: "list",
  data,
  has_more: hasMore,
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
});

function jobJson(record: JobRecord) {
  const { parameters } = record;
  const hyperparameters = {
    n_epochs: parameters.epochs ?? "auto",
    batch_size: parameters.batchSize ?? "auto",
    learning_rate_multiplier: parameters.learningRate === undefined
      ? "auto"
      : parameters.learningRate / LEARNING_RATE,
  };
  return {
    id: record.id,
    object: "fine_tuning.job",
    model: record.model,
    created_at: record.created,
    finished_at: record.finished ?? null,
    fine_tuned_model: record.trainedModel ?? null,
    organization_id: "graft",
    result_files: [],
    status: record.state,
    training_file: record.trainingFile,
    validation_file: record.validationFile ?? null,
    user_provided_suffix: record.suffix ?? null,
    hyperparameters,
    method: { type: "supervised", supervised: { hyperparameters } },
    trained_tokens: null,
    estimated_finish: null,
    seed: parameters.seed ?? 0,
    integrations: [],
    metadata: record.metadata ?? null,
    error: record.error === undefined
      ? null
      : { code: "training_failed", message: record.error, param: null },
  };
}

const eventJson = ({ id, created, level, message, data }: JobEvent) => ({
  id,
  object: "fine_tuning.job.event",
  created_at: created,
  level,
  message,
  type: data === undefined ? "message" : "metrics",
  data: data ?? null,
});

const checkpointJson = ({ id }: JobRecord, { step, created }: JobCheckpoint) => ({
  id: `${id}-step-${step}`,
  object: "fine_tuning.job.checkpoint",
  created_at: created,
  fine_tuning_job_id: id,
  fine_tuned_model_checkpoint: null,
  step_number: step,
  metrics: { step },
});
