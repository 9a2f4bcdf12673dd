/**
 * Requests as OpenTelemetry's spans. Attributes are facts about requests; texts of prompts and answers are
 * never among them, nor messages of errors, which may quote them.
 *
 * Source: OpenTelemetry semantic conventions 1.40, "HTTP spans"; W3C Trace Context.
 */
import {
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { AnchoredClock, W3CTraceContextPropagator } from "@opentelemetry/core";
import { defaultResource, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_REQUEST_METHOD_ORIGINAL,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_VERSION,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
  ATTR_USER_AGENT_ORIGINAL,
} from "@opentelemetry/semantic-conventions";
import { VERSION } from "../../version.ts";
import { beginCall } from "./call_span.ts";
import { OtlpExporter } from "./otlp_exporter.ts";
import { samplerOf } from "./sampler.ts";
import type { TraceSettings } from "./trace_settings.ts";
import type { RequestSpan, TracedRequest, Tracing } from "./tracing.ts";

/** Longest text of an attribute: those of a request's headers are the client's. */
const LONGEST_VALUE = 512;

/** Methods that have a name of their own; all others have one in common. Source: RFC 9110, RFC 5789. */
const METHODS: ReadonlySet<string> = new Set(
  ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"],
);

export class RequestTracer implements Tracing {
  readonly #exporter: OtlpExporter;
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #propagator = new W3CTraceContextPropagator();

  constructor(settings: TraceSettings, onNote: (line: string) => void) {
    this.#exporter = new OtlpExporter(settings, onNote);
    const own = resourceFromAttributes({
      [ATTR_SERVICE_NAME]: "graft",
      [ATTR_SERVICE_VERSION]: VERSION,
    });
    this.#provider = new TracerProvider({
      resource: defaultResource().merge(own)
        .merge(resourceFromAttributes(envDetector.detect().attributes ?? {})),
      sampler: samplerOf(settings),
      spanLimits: { attributeValueLengthLimit: LONGEST_VALUE },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter: this.#exporter,
          maxQueueSize: settings.mostWaiting,
          maxExportBatchSize: settings.mostInBatch,
          scheduledDelayMillis: settings.delayMs,
          // The exporter's own deadline comes first.
          exportTimeoutMillis: 2 * settings.timeoutMs,
        }),
      ],
    });
    this.#tracer = this.#provider.getTracer("graft", VERSION);
  }

  begin(request: TracedRequest): RequestSpan {
    const { headers } = request;
    const parent = this.#propagator.extract(ROOT_CONTEXT, headers, {
      get: (from, name) => from.get(name) ?? undefined,
      keys: (from) => [...from.keys()],
    });
    const method = METHODS.has(request.method) ? request.method : "_OTHER";
    // One for all spans of a request, so that none begins before or ends after the one around it.
    const clock = new AnchoredClock(Date, performance);
    const span = this.#tracer.startSpan(nameOf(method), {
      kind: SpanKind.SERVER,
      startTime: clock.now(),
      attributes: attributesOf(request, method),
    }, parent);
    return this.#requestSpan(span, method, trace.setSpan(parent, span), clock);
  }

  #requestSpan(span: Span, method: string, context: Context, clock: AnchoredClock): RequestSpan {
    let failure: string | undefined;
    return {
      traceId: span.spanContext().traceId,
      call: (call) => beginCall(this.#tracer, context, call, clock),
      fail: (type) => void (failure = type),
      end({ route, status }) {
        if (route !== undefined) {
          span.updateName(nameOf(method, route));
          span.setAttribute(ATTR_HTTP_ROUTE, route);
        }
        span.setAttribute(ATTR_HTTP_RESPONSE_STATUS_CODE, status);
        if (failure !== undefined || status >= 500) {
          span.setAttribute(ATTR_ERROR_TYPE, failure ?? `${status}`);
          span.setStatus({ code: SpanStatusCode.ERROR });
        }
        span.end(clock.now());
      },
    };
  }

  async close(boundMs: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, boundMs);
    // The operator has been told what could not be sent.
    const sent = this.#provider.forceFlush().catch(() => {}).then(() =>
      this.#exporter.forceFlush()
    );
    await Promise.race([sent, late]);
    clearTimeout(timer);
    await this.#exporter.shutdown();
    await this.#provider.shutdown().catch(() => {});
  }
}

function nameOf(method: string, route?: string): string {
  const verb = method === "_OTHER" ? "HTTP" : method;
  return route === undefined ? verb : `${verb} ${route}`;
}

function attributesOf({ method: original, url, headers, id }: TracedRequest, method: string) {
  const userAgent = headers.get("user-agent");
  const isHttps = url.protocol === "https:";
  return {
    [ATTR_HTTP_REQUEST_METHOD]: method,
    ...(method === original ? {} : { [ATTR_HTTP_REQUEST_METHOD_ORIGINAL]: original }),
    [ATTR_URL_SCHEME]: isHttps ? "https" : "http",
    [ATTR_URL_PATH]: url.pathname,
    [ATTR_SERVER_ADDRESS]: url.hostname,
    [ATTR_SERVER_PORT]: Number(url.port || (isHttps ? 443 : 80)),
    ...(userAgent === null ? {} : { [ATTR_USER_AGENT_ORIGINAL]: userAgent }),
    "graft.request.id": id,
  };
}
