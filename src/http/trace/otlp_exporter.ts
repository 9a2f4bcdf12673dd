/**
 * Sends spans to a collector over OTLP/HTTP. A collector that is down, slow or hostile costs at most the
 * batches in work: answers are not read, and every batch has a deadline, repetitions included.
 *
 * Source: OTLP specification 1.10, "OTLP/HTTP".
 */
import { type ExportResult, ExportResultCode } from "@opentelemetry/core";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import { VERSION } from "../../version.ts";
import type { TraceSettings } from "./trace_settings.ts";

/** Statuses after which a batch may be sent again. */
const TRANSIENT: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Milliseconds before the first repetition; each further one waits twice as long. */
const FIRST_PAUSE_MS = 500;

const FORMATS = {
  "http/protobuf": { type: "application/x-protobuf", serializer: ProtobufTraceSerializer },
  "http/json": { type: "application/json", serializer: JsonTraceSerializer },
} as const;

export class OtlpExporter implements SpanExporter {
  readonly #settings: TraceSettings;
  readonly #onNote: (line: string) => void;
  /** Batches that are being sent. */
  readonly #sending = new Set<Promise<void>>();
  readonly #end = new AbortController();
  #failing = false;

  constructor(settings: TraceSettings, onNote: (line: string) => void) {
    this.#settings = settings;
    this.#onNote = onNote;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const sent = this.#send(spans).then(
      () => {
        if (this.#failing) this.#onNote(`Traces are sent to ${this.#address} again`);
        this.#failing = false;
        done({ code: ExportResultCode.SUCCESS });
      },
      (error) => {
        // Once for each outage.
        if (!this.#failing) {
          this.#onNote(`Traces cannot be sent to ${this.#address}: ${error.message}`);
        }
        this.#failing = true;
        done({ code: ExportResultCode.FAILED, error });
      },
    ).finally(() => this.#sending.delete(sent));
    this.#sending.add(sent);
  }

  /** Resolves when what is being sent has arrived or is given up. */
  async forceFlush(): Promise<void> {
    await Promise.all(this.#sending);
  }

  /** Gives up what is being sent. */
  async shutdown(): Promise<void> {
    this.#end.abort();
    await this.forceFlush();
  }

  /** Without what may be a secret. */
  get #address(): string {
    const { origin, pathname } = this.#settings.endpoint;
    return origin + pathname;
  }

  async #send(spans: ReadableSpan[]): Promise<void> {
    const { protocol, timeoutMs, gzip } = this.#settings;
    const bytes = FORMATS[protocol].serializer.serializeRequest(spans);
    if (bytes === undefined) throw new Error("the spans cannot be encoded");
    const body = gzip ? await compressed(bytes) : new Uint8Array(bytes);
    const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(timeoutMs)]);
    for (let pauseMs = FIRST_PAUSE_MS;; pauseMs *= 2) {
      const why = await this.#post(body, signal);
      if (why === undefined) return;
      await pause(pauseMs, signal, why);
    }
  }

  /**
   * @returns what prevents it for now; `undefined` if the collector has taken it
   * @throws {Error} if another try is of no use
   */
  async #post(body: BodyInit, signal: AbortSignal): Promise<string | undefined> {
    const { endpoint, headers, protocol, gzip } = this.#settings;
    try {
      const response = await fetch(endpoint, {
        method: "POST",
        // The headers are for this collector alone.
        redirect: "manual",
        headers: {
          ...headers,
          "user-agent": `graft/${VERSION}`,
          "content-type": FORMATS[protocol].type,
          ...(gzip ? { "content-encoding": "gzip" } : {}),
        },
        body,
        signal,
      });
      await response.body?.cancel();
      if (response.ok) return undefined;
      const why = `it answered ${response.status}`;
      if (TRANSIENT.has(response.status)) return why;
      throw new Refused(why);
    } catch (error) {
      if (error instanceof Refused) throw error;
      if (signal.aborted) throw new Error("it did not answer in time");
      return (error as Error).message;
    }
  }
}

class Refused extends Error {}

/** @throws {Error} with `why` when the signal is aborted */
function pause(ms: number, signal: AbortSignal, why: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(new Error(why));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave);
      resolve();
    }, ms);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  });
}

async function compressed(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([new Uint8Array(bytes)]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
