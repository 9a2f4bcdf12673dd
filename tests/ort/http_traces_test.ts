import { assert, assertEquals, assertMatch } from "@std/assert";
import { openTracing } from "../../src/http/trace/open_tracing.ts";
import type { Tracing } from "../../src/http/trace/tracing.ts";
import { saveRandomAdapter } from "../helpers/adapter_folder.ts";
import { postJson, serveTiny, type TestServer } from "../helpers/http_server.ts";
import { type CollectedSpan, otlpCollector } from "../helpers/otlp_collector.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { within } from "../helpers/within.ts";

const LLAMA = "tiny-llama-genai-fp32";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";
const SECRET = "the lamp on the second floor";
const CHAT = { messages: [{ role: "user", content: SECRET }], max_tokens: 5, temperature: 0 };

async function tracingTo(url: string, more: Record<string, string> = {}): Promise<Tracing> {
  const environment: Record<string, string> = {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    ...more,
  };
  return (await openTracing(() => {}, (name) => environment[name]))!;
}

/** Milliseconds from a time of OTLP. */
const ms = (nanoseconds: string) => Number(BigInt(nanoseconds) / 1000n) / 1000;
const timeOf = ({ startTimeUnixNano, endTimeUnixNano }: CollectedSpan) =>
  [ms(startTimeUnixNano), ms(endTimeUnixNano)] as const;

/** Waits until the server has seen the end of a number of requests. */
const answered = ({ entries }: TestServer, count: number) =>
  within(10_000, () => entries.length >= count);

Deno.test("a request's span goes on with the caller's trace and says what HTTP's conventions want", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url);
  await using server = await serveTiny(LLAMA, { tracing });
  const headers = {
    traceparent: `00-${TRACE}-${PARENT}-01`,
    "x-request-id": "mine",
    "user-agent": "test",
  };
  assertEquals((await postJson(`${server.url}/v1/chat/completions`, CHAT, headers)).status, 200);
  await postJson(`${server.url}/v1/chat/completions`, { messages: 3 });
  await (await fetch(`${server.url}/nothing`)).body?.cancel();
  await tracing.close(5000);

  assertEquals(collector.batches.map(({ path }) => path), ["/v1/traces"]);
  const [span, refused] = collector.named("POST /v1/chat/completions");
  assertEquals([span.traceId, span.parentSpanId, span.kind], [TRACE, PARENT, 2]);
  assertEquals(span.attributes, {
    "http.request.method": "POST",
    "url.scheme": "http",
    "url.path": "/v1/chat/completions",
    "server.address": "127.0.0.1",
    "server.port": server.port,
    "user_agent.original": "test",
    "graft.request.id": "mine",
    "http.route": "/v1/chat/completions",
    "http.response.status_code": 200,
  });
  assertEquals(span.status.code, 0);
  assertEquals(span.resource["service.name"], "graft");
  assertEquals(server.entries[0].traceId, TRACE);
  // A client's mistake is not the server's error.
  assertEquals([refused.attributes["http.response.status_code"], refused.status.code], [400, 0]);
  assertEquals(refused.attributes["error.type"], undefined);
  const [other] = collector.named("GET");
  assertEquals([other.attributes["http.route"], other.parentSpanId], [undefined, undefined]);
  assertMatch(other.traceId, /^[0-9a-f]{32}$/);
});

Deno.test("a chat's trace has waiting, reading and generating, and never a text", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url);
  await using server = await serveTiny(LLAMA, { tracing });
  const request = { ...CHAT, model: LLAMA, n: 2, top_p: 0.9, seed: 7 };
  const { json } = await postJson(`${server.url}/v1/chat/completions`, request);
  await tracing.close(5000);

  const [chat] = collector.named(`chat ${LLAMA}`);
  const usage = json.usage as Record<string, number>;
  const choices = json.choices as { finish_reason: string }[];
  assertEquals(chat.attributes, {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "graft",
    "gen_ai.request.model": LLAMA,
    "gen_ai.response.model": LLAMA,
    "gen_ai.request.max_tokens": 5,
    "gen_ai.request.temperature": 0,
    "gen_ai.request.top_p": 0.9,
    "gen_ai.request.seed": 7,
    "gen_ai.request.choice.count": 2,
    "gen_ai.response.id": json.id,
    "gen_ai.usage.input_tokens": usage.prompt_tokens,
    "gen_ai.usage.output_tokens": usage.completion_tokens,
    "gen_ai.response.finish_reasons": choices.map(({ finish_reason }) => finish_reason),
  });
  const [whole] = collector.named("POST /v1/chat/completions");
  assertEquals(chat.parentSpanId, whole.spanId);
  const stages = ["queue", "read_prompt", "generate"].map((name) => collector.named(name));
  assertEquals(stages.map(({ length }) => length), [1, 1, 1]);
  const [chatStart, chatEnd] = timeOf(chat);
  let last = chatStart;
  for (const [stage] of stages) {
    assertEquals([stage.parentSpanId, stage.traceId], [chat.spanId, whole.traceId]);
    const [start, end] = timeOf(stage);
    assert(start >= last && end >= start, `${stage.name}: ${last} ${start} ${end}`);
    last = end;
  }
  assertEquals(last, chatEnd);
  assert(timeOf(whole)[0] <= chatStart && chatEnd <= timeOf(whole)[1]);
  const text = new TextDecoder().decode(collector.batches[0].body);
  assert(!text.includes(SECRET) && !text.includes("lamp"));
});

Deno.test("the span of an answer in pieces lasts until the last piece", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url);
  await using server = await serveTiny(LLAMA, { tracing });
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...CHAT, max_tokens: 60, stream: true }),
  });
  const begun = Date.now();
  await new Promise((done) => setTimeout(done, 100));
  assert((await response.text()).includes("[DONE]"));
  await answered(server, 1);
  await tracing.close(5000);
  const [span] = collector.named("POST /v1/chat/completions");
  assertEquals([span.status.code, span.attributes["http.response.status_code"]], [0, 200]);
  assert(timeOf(span)[1] >= begun, `${timeOf(span)[1]} ${begun}`);
  const [chat] = collector.named(`chat ${LLAMA}`);
  assertEquals(chat.attributes["gen_ai.request.stream"], true);
  assert(chat.attributes["gen_ai.usage.output_tokens"] as number > 0);
});

Deno.test("a client that leaves marks the span as failed, of answers whole and in pieces", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url);
  await using server = await serveTiny(LLAMA, { tracing });
  for (const [i, stream] of [true, false].entries()) {
    const left = new AbortController();
    const request = fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...CHAT, max_tokens: 200, n: 8, temperature: 1, seed: 3, stream }),
      signal: left.signal,
    }).then((response) => response.text());
    await within(10_000, () => server.admission.inWork > 0);
    if (stream) await new Promise((done) => setTimeout(done, 50));
    left.abort();
    await request.catch(() => {});
    await answered(server, i + 1);
  }
  await tracing.close(5000);
  const spans = collector.named("POST /v1/chat/completions");
  assertEquals(spans.map(({ status }) => status.code), [2, 2]);
  assertEquals(spans.map(({ attributes }) => attributes["error.type"]), [
    "client_disconnected",
    "client_disconnected",
  ]);
});

Deno.test("the span of an answer with an adapter names it and its generation", async () => {
  await inTempDir(async (loraDir) => {
    saveRandomAdapter(`${loraDir}/a`, LLAMA, { seed: 1, targetModules: ["q_proj"] });
    await using collector = otlpCollector();
    const tracing = await tracingTo(collector.url);
    await using server = await serveTiny(LLAMA, { tracing, loraDir });
    const load = { lora_name: "lamp", lora_path: "a" };
    assertEquals((await postJson(`${server.url}/v1/load_lora_adapter`, load)).status, 200);
    await postJson(`${server.url}/v1/chat/completions`, { ...CHAT, model: "lamp" });
    await tracing.close(5000);
    const [{ attributes }] = collector.named("chat lamp");
    assertEquals(
      [attributes["graft.adapter.name"], attributes["graft.adapter.generation"]],
      ["lamp", 1],
    );
  });
});

Deno.test("embeddings have a span with their tokens", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url);
  await using server = await serveTiny("default", { tracing });
  const { json } = await postJson(`${server.url}/v1/embeddings`, { input: ["a", "b c"] });
  await tracing.close(5000);
  const [span] = collector.named("embeddings default");
  assertEquals(span.attributes["gen_ai.operation.name"], "embeddings");
  const { prompt_tokens } = json.usage as Record<string, number>;
  assertEquals(span.attributes["gen_ai.usage.input_tokens"], prompt_tokens);
});

Deno.test("a caller's decision not to sample holds, and a sampler of the environment", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url, { OTEL_TRACES_SAMPLER: "parentbased_always_off" });
  await using server = await serveTiny(LLAMA, { tracing });
  for (const flags of ["00", "01"]) {
    const headers = { traceparent: `00-${TRACE}-${PARENT}-${flags}` };
    await (await fetch(`${server.url}/health`, { headers })).body?.cancel();
  }
  await (await fetch(`${server.url}/health`)).body?.cancel();
  await tracing.close(5000);
  assertEquals(collector.spans().map(({ traceId }) => traceId), [TRACE]);
});

Deno.test("protobuf is the default; headers and the resource are those of the environment", async () => {
  await using collector = otlpCollector();
  const tracing = await tracingTo(collector.url, {
    OTEL_EXPORTER_OTLP_PROTOCOL: "",
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20x,b=2",
    OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
  });
  await using server = await serveTiny(LLAMA, { tracing });
  await (await fetch(`${server.url}/health`)).body?.cancel();
  await tracing.close(5000);
  const [{ headers, body }] = collector.batches;
  assertEquals(headers.get("content-type"), "application/x-protobuf");
  assertEquals([headers.get("authorization"), headers.get("b")], ["Bearer x", "2"]);
  assertEquals(headers.get("content-encoding"), "gzip");
  const stream = new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  assert(text.includes("GET /health") && text.includes("service.name"));
});
