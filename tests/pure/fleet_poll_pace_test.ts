import { assert, assertEquals } from "@std/assert";
import { PollPace } from "../../src/fleet/flower/poll_pace.ts";

Deno.test("PollPace asks as Flower's nodes do while answers are as quick as the way allows", () => {
  const pace = new PollPace();
  for (let i = 0; i < 20; i++) pace.answered(250);
  assertEquals([pace.waitMs(() => 0), pace.waitMs(() => 1)], [3000, 4000]);
});

Deno.test("PollPace asks less often the later answers are, up to three minutes, and recovers", () => {
  const pace = new PollPace();
  pace.answered(10);
  for (let i = 0; i < 40; i++) pace.answered(40);
  assert(Math.abs(pace.intervalMs - 18_000) < 300, `${pace.intervalMs}`);
  for (let i = 0; i < 40; i++) pace.answered(30_000);
  assertEquals(Math.round(pace.intervalMs / 1000), 180);
  for (let i = 0; i < 100; i++) pace.answered(10);
  assertEquals(Math.round(pace.intervalMs), 3000);
});

Deno.test("PollPace asks less often from the first answers on, where all are late", () => {
  const pace = new PollPace();
  for (let i = 0; i < 5; i++) pace.answered(30_000 - 1000 * i);
  assert(pace.intervalMs > 30_000, `${pace.intervalMs}`);
});

Deno.test("PollPace keeps a SuperLink of 100 answers a second from being asked for more, by 1,000 and 3,000 nodes", () => {
  for (const boxes of [100, 1000, 3000]) {
    const pace = new PollPace();
    const service = 10;
    pace.answered(service);
    let sum = 0;
    for (let i = 0; i < 500; i++) {
      const asked = 1000 * boxes / pace.intervalMs;
      sum += asked;
      const load = Math.min(0.99, asked * service / 1000);
      // The mean wait in a queue whose answers take equally long (M/D/1).
      pace.answered(service * (1 + load / (2 * (1 - load))));
    }
    assert(sum / 500 < 97, `${boxes} nodes ask ${sum / 500} a second`);
  }
});
