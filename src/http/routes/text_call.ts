/** The part of a trace that the generation of answers is. */
import type { Context } from "hono";
import type { Sampling } from "../schemas/common.ts";
import type { ServedModel } from "../served_model.ts";
import { spanOf } from "../server_parts.ts";
import type { CallSpan } from "../trace/tracing.ts";

/** What a trace says of a request for text. */
export interface TextCall {
  readonly operation: string;
  readonly served: ServedModel;
  readonly sampling: Sampling;
  /** Name of the model in the request; absent if it has none. */
  readonly requestModel?: string;
}

/** Begins it, at the moment that the request may wait for others; `undefined` where nothing is traced. */
export function beginTextCall(
  context: Context,
  { operation, served, sampling, requestModel }: TextCall,
): CallSpan | undefined {
  const call = spanOf(context)?.call({
    operation,
    requestModel,
    model: served.id,
    adapter: served.adapter,
    maxTokens: sampling.max_tokens ?? undefined,
    temperature: sampling.temperature ?? undefined,
    topP: sampling.top_p ?? undefined,
    seed: sampling.seed ?? undefined,
    stream: sampling.stream ?? undefined,
    count: sampling.n ?? undefined,
  });
  call?.at("queue");
  return call;
}
