import { assertEquals } from "@std/assert";
import { type TraceSettings, traceSettings } from "../../src/http/trace/trace_settings.ts";

/** What an environment says, with the notes on it. */
function read(environment: Record<string, string>): [TraceSettings | undefined, string[]] {
  const notes: string[] = [];
  const settings = traceSettings((name) => environment[name], (note) => notes.push(note));
  return [settings, notes];
}

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };

Deno.test("traceSettings() is nothing unless a collector is named, or where traces are off", () => {
  assertEquals(read({}), [undefined, []]);
  assertEquals(read({ OTEL_SERVICE_NAME: "x", OTEL_TRACES_EXPORTER: "otlp" }), [undefined, []]);
  assertEquals(read({ OTEL_EXPORTER_OTLP_ENDPOINT: " " }), [undefined, []]);
  assertEquals(read({ ...ENDPOINT, OTEL_SDK_DISABLED: "TRUE" }), [undefined, []]);
  assertEquals(read({ ...ENDPOINT, OTEL_TRACES_EXPORTER: "none" }), [undefined, []]);
});

Deno.test("traceSettings() has the specification's defaults", () => {
  const [settings, notes] = read(ENDPOINT);
  assertEquals(notes, []);
  assertEquals(settings, {
    endpoint: new URL("http://127.0.0.1:4318/v1/traces"),
    protocol: "http/protobuf",
    headers: {},
    gzip: false,
    timeoutMs: 10_000,
    sampler: "parentbased_always_on",
    ratio: 1,
    delayMs: 5000,
    mostWaiting: 2048,
    mostInBatch: 512,
  });
});

Deno.test("traceSettings() takes variables of traces before those of all signals", () => {
  const [settings, notes] = read({
    OTEL_EXPORTER_OTLP_ENDPOINT: "https://all.test/otlp/",
    OTEL_EXPORTER_OTLP_HEADERS: "a=1",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://traces.test/in",
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: "Authorization=Bearer%20x%3Dy, b = 2",
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: "gzip",
    OTEL_EXPORTER_OTLP_TIMEOUT: "2000",
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "1000",
    OTEL_TRACES_SAMPLER: "traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "0.25",
    OTEL_BSP_SCHEDULE_DELAY: "100",
    OTEL_BSP_MAX_QUEUE_SIZE: "64",
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "128",
  });
  assertEquals(notes, []);
  assertEquals(settings, {
    endpoint: new URL("https://traces.test/in"),
    protocol: "http/json",
    headers: { authorization: "Bearer x=y", b: "2" },
    gzip: true,
    timeoutMs: 1000,
    sampler: "traceidratio",
    ratio: 0.25,
    delayMs: 100,
    mostWaiting: 64,
    mostInBatch: 64,
  });
  const [all] = read({ OTEL_EXPORTER_OTLP_ENDPOINT: "https://all.test/otlp/" });
  assertEquals(all?.endpoint.href, "https://all.test/otlp/v1/traces");
});

Deno.test("traceSettings() names what it cannot use, and keeps secrets", () => {
  const [settings, notes] = read({
    ...ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS: "topsecret,a=%E0%A4%A,c=3,d=\u0000",
    OTEL_EXPORTER_OTLP_TIMEOUT: "soon",
    OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
    OTEL_TRACES_SAMPLER_ARG: "2",
    OTEL_BSP_MAX_QUEUE_SIZE: "0",
  });
  assertEquals(settings?.headers, { c: "3" });
  assertEquals([settings?.timeoutMs, settings?.ratio, settings?.mostWaiting], [10_000, 1, 2048]);
  assertEquals(notes.length, 6);
  assertEquals(notes.filter((note) => note.includes("secret")), []);
  for (
    const [more, part] of [
      [{ OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, "grpc"],
      [{ OTEL_TRACES_EXPORTER: "zipkin" }, "zipkin"],
      [{ OTEL_EXPORTER_OTLP_ENDPOINT: "127.0.0.1:4318" }, "http"],
    ] as const
  ) {
    const [off, [note]] = read({ ...ENDPOINT, ...more });
    assertEquals([off, note.includes(part)], [undefined, true], note);
  }
  const [usual, [note]] = read({ ...ENDPOINT, OTEL_TRACES_SAMPLER: "jaeger_remote" });
  assertEquals([usual?.sampler, note.includes("jaeger_remote")], ["parentbased_always_on", true]);
});
