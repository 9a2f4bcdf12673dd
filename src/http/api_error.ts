/** Errors as OpenAI's API words them: `{"error": {message, type, param, code}}`. */
import {
  asProperty,
  BadInputError,
  BusyError,
  GraftError,
  ParameterError,
  RefusedError,
  UsageError,
} from "../errors.ts";
import { ContextFullError } from "../serve/text_generator.ts";

/** What a client did, or what stands in the way. */
export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "not_found_error"
  | "rate_limit_error"
  | "unavailable_error"
  | "server_error";

/** Details of an {@linkcode ApiError}. */
export interface ErrorDetails {
  /** Parameter of the request that is at fault. */
  readonly param?: string;
  /** A word for programs. */
  readonly code?: string;
  /** Seconds after which another try may succeed. */
  readonly retryAfter?: number;
}

const TYPES: ReadonlyMap<number, ErrorType> = new Map([
  [401, "authentication_error"],
  [403, "permission_error"],
  [404, "not_found_error"],
  [429, "rate_limit_error"],
  [503, "unavailable_error"],
]);

/** An error with an HTTP status. */
export class ApiError extends Error {
  override name = "ApiError";

  constructor(readonly status: number, message: string, readonly details: ErrorDetails = {}) {
    super(message);
  }

  /** The body of the answer. */
  json() {
    const { param = null, code = null } = this.details;
    const type = TYPES.get(this.status) ??
      (this.status < 500 ? "invalid_request_error" : "server_error");
    return { error: { message: this.message, type, param, code } };
  }

  /** The answer. */
  response(): Response {
    const headers = new Headers({ "content-type": "application/json" });
    const { retryAfter } = this.details;
    if (retryAfter !== undefined) headers.set("retry-after", String(retryAfter));
    if (this.status === 401) headers.set("www-authenticate", "Bearer");
    return new Response(JSON.stringify(this.json()), { status: this.status, headers });
  }
}

/** Names of parameters that the API has other words for. */
const API_NAMES: ReadonlyMap<string, string> = new Map([["maxTokens", "max_tokens"]]);

/**
 * An error of the library, for a client.
 *
 * @returns `undefined` for a bug, or a failure of the runtime: its message is not for clients
 */
export function fromLibrary(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (!(error instanceof GraftError)) return undefined;
  const message = error.worded((parameter, value) =>
    asProperty(API_NAMES.get(parameter) ?? parameter, value)
  );
  if (error instanceof ParameterError) {
    const { parameter } = error;
    return new ApiError(400, message, { param: API_NAMES.get(parameter) ?? parameter });
  }
  if (error instanceof ContextFullError) {
    return new ApiError(400, message, { code: "context_length_exceeded" });
  }
  if (error instanceof UsageError || error instanceof BadInputError) {
    return new ApiError(400, message);
  }
  if (error instanceof BusyError) return new ApiError(503, message, { retryAfter: 1 });
  if (error instanceof RefusedError) return new ApiError(503, message);
  return undefined;
}
