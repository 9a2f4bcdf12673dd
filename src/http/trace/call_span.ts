/**
 * The work of a model in a trace, with a span for each stage: waiting, reading the prompt, generating.
 *
 * Source: OpenTelemetry semantic conventions 1.40, "Generative AI spans". They are in development, and
 * have no stable names in the package of conventions.
 */
import { type Attributes, type Context, type Span, trace, type Tracer } from "@opentelemetry/api";
import type { AnchoredClock } from "@opentelemetry/core";
import type { CallSpan, TracedCall, TracedResult } from "./tracing.ts";

/** Names of the stages' spans. */
const NAMES = { queue: "queue", read: "read_prompt", generate: "generate" } as const;

/**
 * @param parent has the request's span
 * @param clock the request's
 */
export function beginCall(
  tracer: Tracer,
  parent: Context,
  call: TracedCall,
  clock: AnchoredClock,
): CallSpan {
  const name = `${call.operation} ${call.model}`;
  const startTime = clock.now();
  const span = tracer.startSpan(name, { startTime, attributes: callAttributes(call) }, parent);
  const context = trace.setSpan(parent, span);
  const reached = new Set<string>();
  let stage: Span | undefined;
  return {
    at(next) {
      if (reached.has(next)) return;
      reached.add(next);
      const startTime = clock.now();
      stage?.end(startTime);
      stage = tracer.startSpan(NAMES[next], { startTime }, context);
    },
    result: (result) => void span.setAttributes(resultAttributes(result)),
    [Symbol.dispose]() {
      const end = clock.now();
      stage?.end(end);
      span.end(end);
    },
  };
}

function callAttributes(call: TracedCall): Attributes {
  const { adapter, count } = call;
  return {
    "gen_ai.operation.name": call.operation,
    "gen_ai.provider.name": "graft",
    "gen_ai.request.model": call.requestModel ?? call.model,
    "gen_ai.response.model": call.model,
    "gen_ai.request.max_tokens": call.maxTokens,
    "gen_ai.request.temperature": call.temperature,
    "gen_ai.request.top_p": call.topP,
    "gen_ai.request.seed": call.seed,
    "gen_ai.request.stream": call.stream,
    "gen_ai.request.choice.count": count === 1 ? undefined : count,
    "graft.adapter.name": adapter?.name,
    "graft.adapter.generation": adapter?.generation,
  };
}

function resultAttributes(
  { id, inputTokens, outputTokens, finishReasons }: TracedResult,
): Attributes {
  return {
    "gen_ai.response.id": id,
    "gen_ai.usage.input_tokens": inputTokens,
    "gen_ai.usage.output_tokens": outputTokens,
    "gen_ai.response.finish_reasons": finishReasons === undefined ? undefined : [...finishReasons],
  };
}
