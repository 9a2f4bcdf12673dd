import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { loadedFiles } from "../../scripts/loaded_files.ts";
import { modelDir } from "../helpers/fixture_models.ts";
import { otlpCollector } from "../helpers/otlp_collector.ts";
import { servingWith } from "../helpers/serving.ts";

const LLAMA = modelDir("tiny-llama-genai-fp32");
const ROOT = new URL("../../", import.meta.url).pathname;
const TRACE = "0af7651916cd43dd8448eb211c80319c";

async function chat(url: string, headers: Record<string, string> = {}): Promise<number> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ messages: [{ role: "user", content: "on" }], max_tokens: 4 }),
  });
  await response.body?.cancel();
  return response.status;
}

Deno.test("graft serve sends traces where the environment names a collector, the last when it is stopped", async () => {
  await using collector = otlpCollector();
  const { child, url, stderr } = await servingWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_SERVICE_NAME: "mill",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=hall%202",
    OTEL_BSP_SCHEDULE_DELAY: "60000",
  }, LLAMA);
  assertEquals(await chat(url, { traceparent: `00-${TRACE}-b7ad6b7169203331-01` }), 200);
  assertEquals(collector.batches.length, 0);
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
  const [span] = collector.named("POST /v1/chat/completions");
  assertEquals([span.traceId, span.parentSpanId], [TRACE, "b7ad6b7169203331"]);
  assertEquals(span.resource["service.name"], "mill");
  assertEquals(span.resource["deployment.environment.name"], "hall 2");
  assertStringIncludes(await stderr, ` trace ${TRACE}\n`);
});

Deno.test("graft serve answers and stops as always beside a collector that never answers", async () => {
  await using collector = otlpCollector(() => new Promise<Response>(() => {}));
  const { child, url, stderr } = await servingWith({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/traces`,
    OTEL_BSP_SCHEDULE_DELAY: "10",
  }, LLAMA);
  for (let i = 0; i < 3; i++) assertEquals(await chat(url), 200);
  const start = performance.now();
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
  assert(performance.now() - start < 4000, `${performance.now() - start} ms`);
  assertEquals(collector.batches[0].path, "/traces");
  assertStringIncludes(await stderr, "Traces cannot be sent");
});

Deno.test("graft serve loads no OpenTelemetry before the environment asks for it", async () => {
  const loaded = await loadedFiles(ROOT, "src/cli/serve/serve.ts");
  assert(loaded.includes("src/http/trace/open_tracing.ts"));
  assertEquals(loaded.filter((path) => /request_tracer|otlp_exporter/.test(path)), []);
});

Deno.test("graft serve connects to nothing without a collector's address", async () => {
  await using collector = otlpCollector();
  const { child, url, stderr } = await servingWith({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_SDK_DISABLED: "true",
  }, LLAMA);
  assertEquals(await chat(url), 200);
  child.kill("SIGTERM");
  await child.status;
  assertEquals(collector.batches.length, 0);
  assert(!(await stderr).includes("trace"));
});
