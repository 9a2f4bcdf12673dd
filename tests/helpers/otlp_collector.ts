/** A collector of traces that keeps what it gets, over OTLP/HTTP with JSON. */

/** A span as a collector sees it. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  /** 0 unset, 2 error. */
  readonly status: { readonly code: number; readonly message?: string };
  /** By name. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Of the process, by name. */
  readonly resource: Readonly<Record<string, unknown>>;
}

/** A request to the collector. */
export interface CollectedBatch {
  readonly path: string;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
}

export interface OtlpCollector extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string;
  readonly batches: readonly CollectedBatch[];
  spans(): readonly CollectedSpan[];
  /** The spans of a name, in the order of their ends. */
  named(name: string): readonly CollectedSpan[];
}

/** @param answer what it does with a batch; default: takes it */
export function otlpCollector(
  answer: (request: Request) => Response | Promise<Response> = () => Response.json({}),
): OtlpCollector {
  const batches: CollectedBatch[] = [];
  const end = new AbortController();
  const options = { hostname: "127.0.0.1", port: 0, signal: end.signal, onListen() {} };
  const server = Deno.serve(options, async (request) => {
    const body = await request.bytes();
    batches.push({ path: new URL(request.url).pathname, headers: request.headers, body });
    return await answer(request);
  });
  const spans = () => batches.flatMap(({ body }) => spansOf(JSON.parse(decoder.decode(body))));
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    batches,
    spans,
    named: (name) => spans().filter((span) => span.name === name),
    async [Symbol.asyncDispose]() {
      // Batches that are not answered must not keep it.
      end.abort();
      await server.finished;
    },
  };
}

const decoder = new TextDecoder();

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

function spansOf(
  { resourceSpans }: {
    resourceSpans: {
      resource: { attributes: Attribute[] };
      scopeSpans: { spans: (Omit<CollectedSpan, "attributes"> & { attributes: Attribute[] })[] }[];
    }[];
  },
): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        attributes: plain(span.attributes),
        resource: plain(resource.attributes),
      }))
    )
  );
}

function plain(attributes: readonly Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, valueOf(value)]));
}

/** Of `{"stringValue": …}` and its like. */
function valueOf(value: Attribute["value"]): unknown {
  const [inner] = Object.values(value);
  const list = (inner as { readonly values?: readonly Attribute["value"][] }).values;
  return list === undefined ? inner : list.map(valueOf);
}
