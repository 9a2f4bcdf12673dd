import { assert, assertEquals } from "@std/assert";
import { PollPace } from "../../src/fleet/flower/poll_pace.ts";
import { Random } from "../../src/random.ts";

Deno.test("PollPace asks as Flower's nodes do while answers are as quick as the way allows", () => {
  const pace = new PollPace();
  for (let i = 0; i < 20; i++) pace.answered(250);
  assertEquals([pace.waitMs(() => 0), pace.waitMs(() => 1)], [1500, 4500]);
});

Deno.test("PollPace asks less often the later answers are, up to three minutes, and recovers", () => {
  const pace = new PollPace();
  pace.answered(10);
  for (let i = 0; i < 40; i++) pace.answered(40);
  assert(Math.abs(pace.intervalMs - 18_000) < 300, `${pace.intervalMs}`);
  for (let i = 0; i < 40; i++) pace.answered(30_000);
  assertEquals(Math.round(pace.intervalMs / 1000), 180);
  let waited = 0;
  while (pace.intervalMs > 4000) {
    waited += pace.intervalMs;
    pace.answered(10);
  }
  assert(waited < 8 * 60_000, `${waited}`);
  for (let i = 0; i < 100; i++) pace.answered(10);
  assertEquals(Math.round(pace.intervalMs), 3000);
});

Deno.test("PollPace keeps a node waiting for little longer than answers have been late", () => {
  const pace = new PollPace();
  for (let i = 0; i < 5; i++) pace.answered(10);
  let rush = 0;
  while (rush < 30_000) {
    pace.answered(1000);
    rush += 1000 + pace.intervalMs;
    assert(pace.intervalMs < rush, `${pace.intervalMs} after ${rush}`);
  }
  assert(pace.intervalMs > 10_000, `${pace.intervalMs}`);
});

Deno.test("PollPace asks at once after a quick start, and at some time of an interval after a late one", () => {
  const pace = new PollPace();
  pace.answered(100);
  assertEquals(pace.firstWaitMs(), 0);
  pace.answered(60_000);
  assert(pace.firstWaitMs(() => 1) > 30_000, `${pace.firstWaitMs(() => 1)}`);
  assertEquals(pace.firstWaitMs(() => 0), 0);
});

Deno.test("PollPace asks less often from the first answers on, where all are late", () => {
  const pace = new PollPace();
  for (let i = 0; i < 5; i++) pace.answered(30_000 - 1000 * i);
  assert(pace.intervalMs > 30_000, `${pace.intervalMs}`);
});

Deno.test("PollPace leaves a SuperLink of 100 answers a second time for other calls, with 100, 1,000 and 3,000 nodes that join at once", () => {
  const source = Random.fromSeed(7);
  const random = () => source.next() / 2 ** 32;
  for (const boxes of [100, 1000, 3000]) {
    const nodes = Array.from({ length: boxes }, () => ({ pace: new PollPace(), asksAt: 0 }));
    let [freeAt, asked] = [0, 0];
    for (;;) {
      const node = nodes.reduce((first, other) => other.asksAt < first.asksAt ? other : first);
      if (node.asksAt > 600_000) break;
      if (node.asksAt > 300_000) asked++;
      freeAt = Math.max(freeAt, node.asksAt) + 20 * random();
      node.pace.answered(freeAt - node.asksAt);
      node.asksAt = freeAt + node.pace.waitMs(random);
    }
    assert(asked / 300 < 95, `${boxes} nodes ask ${asked / 300} times a second`);
  }
});
