import { assert, assertEquals } from "@std/assert";
import { modelDir } from "../helpers/fixture_models.ts";
import { freePort } from "../helpers/free_port.ts";
import { otlpCollector } from "../helpers/otlp_collector.ts";
import { testUnderSystemd } from "../helpers/systemd.ts";
import { install, override } from "../helpers/systemd_service.ts";
import { until } from "../helpers/until.ts";

const DOCS = new URL("../../docs/service.md", import.meta.url);

/** The settings that the page of the service names for a collector, with this one's port. */
function documentedSettings(url: string): string[] {
  const [, block] = /```ini\n\[Service\]\n(.*?)```/s.exec(Deno.readTextFileSync(DOCS))!;
  assert(block.includes("http://127.0.0.1:4318"));
  return block.replace("http://127.0.0.1:4318", url).trim().split("\n");
}

testUnderSystemd(
  "the service sends traces with the settings that its page names",
  async (systemd) => {
    await using collector = otlpCollector();
    const port = freePort();
    const model = modelDir("tiny-llama-genai-int4");
    await install(systemd, model, "--listen", `127.0.0.1:${port}`);
    await override(
      systemd,
      "graft.service",
      ...documentedSettings(collector.url),
      "Environment=OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_BSP_SCHEDULE_DELAY=10",
    );
    const restarted = await systemd.run("systemctl", "restart", "graft.service");
    assertEquals(restarted.code, 0, restarted.stderr);
    const response = await fetch(`http://127.0.0.1:${port}/v1/models`);
    assertEquals(response.status, 200, await response.text());
    await until("the collector has a span", () => collector.named("GET /v1/models")[0]);
  },
);
