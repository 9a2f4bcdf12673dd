import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openTracing } from "../../src/http/trace/open_tracing.ts";
import type { TracedRequest, Tracing } from "../../src/http/trace/tracing.ts";
import { serveTiny } from "../helpers/http_server.ts";
import { otlpCollector } from "../helpers/otlp_collector.ts";
import { within } from "../helpers/within.ts";

/** A tracer that sends often, and what it tells the operator. */
async function tracingTo(
  url: string,
  more: Record<string, string> = {},
): Promise<{ readonly tracing: Tracing; readonly notes: readonly string[] }> {
  const environment: Record<string, string> = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_BSP_SCHEDULE_DELAY: "10",
    ...more,
  };
  const notes: string[] = [];
  const tracing = await openTracing((note) => notes.push(note), (name) => environment[name]);
  return { tracing: tracing!, notes };
}

const REQUEST: TracedRequest = {
  method: "GET",
  url: new URL("http://127.0.0.1/health"),
  headers: new Headers(),
  id: "1",
};

function trace(tracing: Tracing, count = 1): void {
  for (let i = 0; i < count; i++) tracing.begin(REQUEST).end({ route: "/health", status: 200 });
}

/** Milliseconds that a promise takes. */
async function took(work: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work;
  return performance.now() - start;
}

/** A socket that accepts connections and does with each what it is told. */
function collectorOf(serve: (connection: Deno.Conn) => Promise<void>) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.Conn[] = [];
  const working = (async () => {
    for await (const connection of listener) {
      connections.push(connection);
      serve(connection).catch(() => {});
    }
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const connection of connections) {
        try {
          connection.close();
        } catch {
          // The other side has closed it.
        }
      }
      await working;
    },
  };
}

Deno.test("answers do not wait for a collector that is down, silent, or never ends its answer", async () => {
  await using silent = collectorOf(() => new Promise(() => {}));
  await using endless = collectorOf(async (connection) => {
    await connection.write(new TextEncoder().encode("HTTP/1.1 200 OK\r\nx: "));
    for (;;) {
      await connection.write(new TextEncoder().encode("y"));
      await new Promise((done) => setTimeout(done, 20));
    }
  });
  for (const url of ["http://127.0.0.1:1", silent.url, endless.url]) {
    const { tracing, notes } = await tracingTo(url, { OTEL_EXPORTER_OTLP_TIMEOUT: "200" });
    await using server = await serveTiny("tiny-llama-genai-fp32", { tracing });
    const ask = async () => await (await fetch(`${server.url}/health`)).body?.cancel();
    await ask();
    await within(5000, () => notes.length > 0);
    for (let i = 0; i < 20; i++) assert(await took(ask()) < 500);
    assertStringIncludes(notes[0], `Traces cannot be sent to ${url}/v1/traces`);
    assert(await took(tracing.close(300)) < 1000);
    // Once for the outage.
    assertEquals(notes.length, 1);
  }
});

Deno.test("spans that a slow collector does not take are dropped beyond the queue", async () => {
  const { promise: free, resolve } = Promise.withResolvers<void>();
  await using collector = otlpCollector(async () => {
    await free;
    return Response.json({});
  });
  const { tracing } = await tracingTo(collector.url, {
    OTEL_BSP_MAX_QUEUE_SIZE: "1000",
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "100",
  });
  for (let i = 0; i < 10; i++) {
    trace(tracing, 1000);
    await new Promise((done) => setTimeout(done, 5));
  }
  assertEquals(collector.batches.length, 1);
  resolve();
  await tracing.close(5000);
  // The batch that was being sent, and the queue.
  assertEquals(collector.spans().length, 1100);
});

Deno.test("a batch is sent again where the collector is busy, and not where it refuses it", async () => {
  const statuses = [503, 429, 200, 400, 200];
  await using collector = otlpCollector(() => new Response(null, { status: statuses.shift() }));
  const { tracing, notes } = await tracingTo(collector.url);
  trace(tracing);
  await within(10_000, () => statuses.length === 2);
  assertEquals(notes, []);
  trace(tracing);
  await within(5000, () => notes.length === 1);
  assertStringIncludes(notes[0], "it answered 400");
  trace(tracing);
  await within(5000, () => notes.length === 2);
  assertStringIncludes(notes[1], "again");
  await tracing.close(1000);
  assertEquals(collector.batches.length, 5);
});

Deno.test("spans and their headers do not follow a redirect", async () => {
  await using other = otlpCollector();
  await using collector = otlpCollector(() => Response.redirect(`${other.url}/v1/traces`, 307));
  const { tracing, notes } = await tracingTo(collector.url, {
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=secret",
  });
  trace(tracing);
  await within(5000, () => notes.length === 1);
  await tracing.close(1000);
  assertEquals([collector.batches.length, other.batches.length], [1, 0]);
  assert(!notes[0].includes("secret"));
});

Deno.test("an answer of a collector without an end is not read", async () => {
  let sent = 0;
  await using collector = otlpCollector(() =>
    new Response(
      new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(65_536));
          sent += 65_536;
        },
      }),
    )
  );
  const { tracing, notes } = await tracingTo(collector.url);
  trace(tracing);
  await within(5000, () => collector.batches.length === 1);
  await new Promise((done) => setTimeout(done, 200));
  trace(tracing);
  await within(5000, () => collector.batches.length === 2);
  await tracing.close(1000);
  assertEquals(notes, []);
  assert(sent < 64e6, `${sent} bytes`);
});
