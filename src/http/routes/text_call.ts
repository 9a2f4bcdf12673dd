/** The part of a trace that the generation of answers is. */
import type { Context } from "hono";
import { spanOf } from "../server_parts.ts";
import type { CallSpan } from "../trace/tracing.ts";
import type { TextRequest } from "./text_route.ts";

/** Begins it, at the moment that the request may wait for others; `undefined` where nothing is traced. */
export function beginTextCall(
  context: Context,
  { served, sampling, format, requestModel }: TextRequest,
): CallSpan | undefined {
  const call = spanOf(context)?.call({
    operation: format.operation,
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
