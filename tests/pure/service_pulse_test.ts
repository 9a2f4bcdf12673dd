import { assert, assertEquals } from "@std/assert";
import { Pulse } from "../../src/service/pulse.ts";
import { Turns } from "../../src/service/turns.ts";

const EVERY_MS = 10;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for something that a busy machine may do late; fails where it never does. */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await wait(EVERY_MS);
  assert(holds(), what);
}

/** A pulse with a probe of the test's own; counts what it does. */
function pulse(probe: () => Promise<void>) {
  const counts = { pings: 0, probes: 0, faults: 0 };
  const running = new Pulse({
    probe: () => {
      counts.probes++;
      return probe();
    },
    ping: () => counts.pings++,
    onFault: () => counts.faults++,
    everyMs: EVERY_MS,
  });
  return { counts, running };
}

Deno.test("Pulse pings as long as probes end", async () => {
  const { counts, running } = pulse(() => Promise.resolve());
  await eventually("three pings", () => counts.pings >= 3);
  running[Symbol.dispose]();
});

Deno.test("Pulse pings without a probe where inferences have ended since it last looked", async () => {
  const { counts, running } = pulse(() => Promise.resolve());
  const proving = setInterval(() => running.prove(), 1);
  await eventually("three pings", () => counts.pings >= 3);
  clearInterval(proving);
  running[Symbol.dispose]();
  assert(counts.probes <= 1, `probes: ${counts.probes}`);
});

Deno.test("Pulse does not ping while an inference hangs, and begins no other probe", async () => {
  const { counts, running } = pulse(() => new Promise(() => {}));
  await wait(EVERY_MS * 12);
  running[Symbol.dispose]();
  assertEquals(counts, { pings: 0, probes: 1, faults: 0 });
});

Deno.test("Pulse does not ping where the model does not answer", async () => {
  const { counts, running } = pulse(() => Promise.reject(new Error("no")));
  await eventually("a fault", () => counts.faults >= 2);
  running[Symbol.dispose]();
  assertEquals(counts.pings, 0);
});

Deno.test("Pulse does not ping while the event loop hangs", async () => {
  const { counts, running } = pulse(() => Promise.resolve());
  const until = performance.now() + EVERY_MS * 12;
  while (performance.now() < until);
  assertEquals(counts.pings, 0);
  await eventually("a ping", () => counts.pings >= 1);
  running[Symbol.dispose]();
});

Deno.test("Turns does one piece of work after another, past one that fails, and says when it is full", async () => {
  const turns = new Turns(2, 2);
  const order: string[] = [];
  const first = turns.take(async () => {
    await wait(5);
    order.push("first");
    throw new Error("no");
  });
  assertEquals(turns.full(1), false);
  const second = turns.take(() => Promise.resolve(order.push("second")));
  assertEquals(turns.full(1), true);
  assertEquals(await first.catch((error) => error.message), "no");
  await second;
  assertEquals([order, turns.full(1)], [["first", "second"], false]);
});
