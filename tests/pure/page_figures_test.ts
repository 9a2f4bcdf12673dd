import { assertEquals } from "@std/assert";
import { figuresOf, tokensPerSecond, withFigures } from "../../src/http/page/server/figures.js";
import { formatBytes, formatNumber, formatSmall } from "../../src/http/page/shared/format.js";
import { parseMetrics } from "../../src/http/page/shared/prometheus.js";
import { spread } from "../../src/http/page/shared/spread.js";

const METRICS = `# HELP graft_tokens_total Tokens
# TYPE graft_tokens_total counter
graft_tokens_total{kind="prompt"} 40
graft_tokens_total{kind="generated"} 60

graft_requests_in_work 3
process_resident_memory_bytes 2.5e+8
graft_temperature_celsius{zone="cpu"} 41.5
graft_temperature_celsius{zone="gpu \\"left\\" \\\\ \\n"} 52
bucket{le="+Inf",route="/v1/a,b{}"} +Inf
not a metric
nothing{x="y"} NaN
`;

Deno.test("parseMetrics() reads labels with escapes and infinities, and passes over what is no sample", () => {
  const found = parseMetrics(METRICS);
  assertEquals(found.get("bucket"), [
    { labels: { le: "+Inf", route: "/v1/a,b{}" }, value: Infinity },
  ]);
  assertEquals(found.get("graft_temperature_celsius")?.map(({ labels }) => labels.zone), [
    "cpu",
    'gpu "left" \\ \n',
  ]);
  assertEquals([found.has("nothing"), found.has("not"), found.has("#")], [false, false, false]);
});

Deno.test("figuresOf() takes the series that are shown, the hottest zone first, and zeros where one is missing", () => {
  assertEquals(figuresOf(METRICS, 7), {
    at: 7,
    generatedTokens: 60,
    promptTokens: 40,
    inWork: 3,
    residentBytes: 2.5e8,
    availableBytes: undefined,
    temperatures: [{ zone: 'gpu "left" \\ \n', celsius: 52 }, { zone: "cpu", celsius: 41.5 }],
  });
  assertEquals(figuresOf("", 0).generatedTokens, 0);
});

const at = (seconds: number, tokens: number) => ({
  ...figuresOf("", seconds * 1000),
  generatedTokens: tokens,
});

Deno.test("tokensPerSecond() is the mean over the 30 seconds before", () => {
  assertEquals(tokensPerSecond([]), 0);
  assertEquals(tokensPerSecond([at(0, 5)]), 0);
  assertEquals(tokensPerSecond([at(0, 0), at(10, 100)]), 10);
  const long = [at(0, 0), at(20, 1000), at(50, 1600)];
  assertEquals(tokensPerSecond(long), 20);
  assertEquals(tokensPerSecond(long, 1), 50);
});

Deno.test("withFigures() keeps ten minutes, and begins anew when the server did", () => {
  const old = withFigures([at(0, 0), at(100, 10)], at(650, 20));
  assertEquals(old.map(({ at }) => at), [100_000, 650_000]);
  assertEquals(withFigures(old, at(652, 3)).map(({ at }) => at), [652_000]);
});

Deno.test("figures in words have a unit and few digits", () => {
  assertEquals([0, 999, 1500, 312e6, 2.4e9, 9e15].map(formatBytes), [
    "0 bytes",
    "999 bytes",
    "1.5 kB",
    "312 MB",
    "2.4 GB",
    "9000 TB",
  ]);
  assertEquals(formatBytes(undefined), "unknown");
  assertEquals([formatNumber(1.26), formatNumber(null), formatNumber(2, 0)], ["1.3", "none", "2"]);
  assertEquals([0, 0.0002, 0.5].map(formatSmall), ["0", "2.00e-4", "0.5"]);
});

Deno.test("spread() takes points at equal distances, the first and the last among them", () => {
  assertEquals(spread(3, 5), [0, 1, 2]);
  assertEquals(spread(101, 5), [0, 25, 50, 75, 100]);
  assertEquals(spread(0, 5), []);
});
