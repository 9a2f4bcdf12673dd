/** `/metrics` by the rules of `promtool check metrics`, which scripts/campaigns/serve_tools.py calls. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { postJson, serveTiny } from "../helpers/http_server.ts";

/** What a metric's lines say of it. */
interface Family {
  readonly type: string;
  readonly help: string;
  /** Names of its labels. */
  readonly labels: ReadonlySet<string>;
}

function familiesIn(text: string): ReadonlyMap<string, Family> {
  const helps = new Map([...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, a, b]) => [a, b]));
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (.*)$/gm)].map(([, a, b]) => [a, b]));
  assertEquals([...helps.keys()], [...types.keys()]);
  const samples = [...text.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+$/gm)];
  return new Map([...types].map(([name, type]) => {
    const own = samples.filter(([, sample]) =>
      sample === name ||
      (type === "histogram" && sample.replace(/_(bucket|sum|count)$/, "") === name)
    );
    const labels = own.flatMap(([, , labels = ""]) =>
      [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label)
    );
    return [name, { type, help: helps.get(name)!, labels: new Set(labels) }];
  }));
}

const ABBREVIATED = /(^|_)(s|ms|us|ns|sec|secs|millis|kb|mb|gb|b)(_|$)/;
const OTHER_UNITS =
  /(^|_)(minutes|hours|days|milliseconds|microseconds|kilobytes|megabytes|bits)(_|$)/;

for (const model of ["tiny-llama-genai-fp32", "default"]) {
  Deno.test(`/metrics of ${model} has names and helps as Prometheus wants them`, async () => {
    await using server = await serveTiny(model);
    const chat = { messages: [{ role: "user", content: "on" }], max_tokens: 3 };
    await postJson(`${server.url}/v1/chat/completions`, chat);
    await postJson(`${server.url}/v1/embeddings`, { input: "on" });
    const response = await fetch(`${server.url}/metrics`);
    assertEquals(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    const families = familiesIn(await response.text());
    assert(families.size >= 6);
    for (const [name, { type, help, labels }] of families) {
      assertMatch(name, /^[a-z][a-z0-9_]*$/);
      assert(help.trim() !== "", `${name} has no help`);
      assertEquals(name.endsWith("_total"), type === "counter", name);
      assert(!/_(count|sum|bucket|info)$/.test(name), name);
      assert(!/(^|_)(gauge|counter|histogram|summary)(_|$)/.test(name), name);
      assert(!ABBREVIATED.test(name) && !OTHER_UNITS.test(name), name);
      for (const label of labels) {
        assertMatch(label, /^[a-z][a-z0-9_]*$/);
        assert(label !== "le" || type === "histogram", `${name} ${label}`);
        assert(label !== "quantile" && !name.includes(`_by_${label}`), `${name} ${label}`);
      }
    }
  });
}
