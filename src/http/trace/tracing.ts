/** What the API tells a tracer of its requests. Nothing here loads OpenTelemetry. */
import type { GenerationStage } from "../../serve/generate.ts";

/** A request as it arrives. */
export interface TracedRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  /** Its `X-Request-Id`. */
  readonly id: string;
}

/** A request as it is answered. */
export interface TracedAnswer {
  /** The path as the API declares it; absent if it has none for the request. */
  readonly route?: string;
  readonly status: number;
}

/** What a model is asked to do; never any text. */
export interface TracedCall {
  /** As OpenTelemetry names operations: `chat`, `text_completion`, `embeddings`. */
  readonly operation: string;
  /** As the request names it; absent if it names none. */
  readonly requestModel?: string;
  readonly model: string;
  readonly adapter?: { readonly name: string; readonly generation: number };
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly seed?: number;
  readonly stream?: boolean;
  /** Answers to each prompt. */
  readonly count?: number;
}

/** What a model has done. */
export interface TracedResult {
  /** The answer's id. */
  readonly id?: string;
  readonly inputTokens: number;
  readonly outputTokens?: number;
  readonly finishReasons?: readonly string[];
}

/** The part of a trace that a model's work is; disposing of it ends it. */
export interface CallSpan extends Disposable {
  /** Tells that the first text of the call is at a stage; later texts change nothing. */
  at(stage: "queue" | GenerationStage): void;
  /** Tells what has come of it. */
  result(result: TracedResult): void;
}

/** The part of a trace that a request is. */
export interface RequestSpan {
  readonly traceId: string;
  /** Begins the work of a model. */
  call(call: TracedCall): CallSpan;
  /**
   * Marks the request as failed; the last mark counts.
   *
   * @param type a word of few different ones, such as the error's class
   */
  fail(type: string): void;
  end(answer: TracedAnswer): void;
}

/** Makes traces of requests. */
export interface Tracing {
  begin(request: TracedRequest): RequestSpan;
  /** Sends what has ended; gives up after `boundMs`. */
  close(boundMs: number): Promise<void>;
}

/** What a request is marked with if its client does not wait for the end of the answer. */
export const CLIENT_LEFT = "client_disconnected";
