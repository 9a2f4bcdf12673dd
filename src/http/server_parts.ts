/** What routes share. */
import type { Context } from "hono";
import type { FileStore } from "../jobs/file_store.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { ApiError } from "./api_error.ts";
import type { Admission } from "./admission.ts";
import type { Metrics } from "./metrics.ts";
import type { Models } from "./served_model.ts";
import type { RequestSpan } from "./trace/tracing.ts";

/** Training by requests. */
export interface FineTuning {
  /** Name of the model that jobs train, in requests; it need not be loaded. */
  readonly base: string;
  readonly files: FileStore;
  readonly jobs: Jobs;
  /** Largest upload. */
  readonly mostUploadBytes: number;
}

export interface ServerParts {
  readonly models: Models;
  readonly admission: Admission;
  readonly metrics: Metrics;
  /** Most tokens of an answer that a request states none for; absent: as many as the context holds. */
  readonly maxTokens?: number;
  /** Requests that are generated at the same time. */
  readonly parallel: number;
  /** Absent if requests may not train. */
  readonly fineTuning?: FineTuning;
  /** Aborted when answers in work must end. */
  readonly stop: AbortSignal;
  /** Told of failures that are not the client's. */
  readonly onFailure: (error: unknown, requestId: string) => void;
}

/** A route's function. */
export type Handler = (context: Context) => Promise<Response> | Response;

/** The span of a request; `undefined` where requests are not traced. */
export function spanOf(context: Context): RequestSpan | undefined {
  return context.get("span");
}

/** @throws {ApiError} 400 if the server trains nothing */
export function fineTuningOf({ fineTuning }: ServerParts): FineTuning {
  if (fineTuning !== undefined) return fineTuning;
  throw new ApiError(400, "This server trains no models", {
    code: "fine_tuning_disabled",
  });
}
