/** Spans of requests that fail: the server's own failures, and refusals before a model is asked. */
import { assertEquals } from "@std/assert";
import { Admission } from "../../src/http/admission.ts";
import { createApp } from "../../src/http/app.ts";
import { Hosts, Keys } from "../../src/http/guard.ts";
import { Metrics } from "../../src/http/metrics.ts";
import type { RequestSpan, TracedAnswer, Tracing } from "../../src/http/trace/tracing.ts";

/** A tracer that notes what it is told. */
class Notes implements Tracing {
  readonly failed: string[] = [];
  readonly ended: TracedAnswer[] = [];
  calls = 0;

  begin(): RequestSpan {
    return {
      traceId: "1",
      call: () => {
        this.calls++;
        return { at() {}, result() {}, [Symbol.dispose]() {} };
      },
      fail: (type) => void this.failed.push(type),
      end: (answer) => void this.ended.push(answer),
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function appOf(tracing: Tracing, list: () => never[], keys: readonly string[] = []) {
  return createApp({
    models: { list },
    admission: new Admission(1),
    metrics: new Metrics(() => 0, () => 0),
    parallel: 1,
    stop: new AbortController().signal,
    onFailure() {},
    keys: new Keys(keys),
    hosts: new Hosts(),
    tracing,
  });
}

const get = (path: string) =>
  new Request(`http://127.0.0.1${path}`, { headers: { host: "127.0.0.1" } });

Deno.test("a bug marks its span with the error's class", async () => {
  const notes = new Notes();
  const app = appOf(notes, () => {
    throw new RangeError("a bug");
  });
  assertEquals((await app.fetch(get("/v1/models"))).status, 500);
  assertEquals([notes.failed, notes.ended], [["RangeError"], [{
    route: "/v1/models",
    status: 500,
  }]]);
});

Deno.test("a refused request ends its span, and begins no call of a model", async () => {
  const notes = new Notes();
  const app = appOf(notes, () => [], ["secret"]);
  assertEquals((await app.fetch(get("/v1/models"))).status, 401);
  assertEquals((await app.fetch(get("/health"))).status, 503);
  assertEquals([notes.failed, notes.calls], [[], 0]);
  assertEquals(notes.ended.map(({ status }) => status), [401, 503]);
});
