import { assert, assertEquals, assertRejects } from "@std/assert";
import { RunClock } from "../../src/runtime/run_clock.ts";

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Notes whether it should be brief, and takes its time. */
const run = (ms: number, asked: boolean[]) => async (brief: boolean) => {
  asked.push(brief);
  await sleep(ms);
};

Deno.test("RunClock calls a run brief once one of its kind was, in proportion to its tokens", async () => {
  const clock = new RunClock();
  const asked: boolean[] = [];
  await clock.time(100, run(40, asked)); // nothing is known; then 0.4 ms a token
  await clock.time(1, run(0, asked));
  await clock.time(1000, run(20, asked));
  assertEquals(asked, [false, true, false]);
});

Deno.test("RunClock learns from brief runs that took long", async () => {
  const clock = new RunClock();
  const asked: boolean[] = [];
  await clock.time(1000, run(1, asked));
  await clock.time(1, run(60, asked));
  await clock.time(1, run(0, asked));
  assertEquals(asked, [false, true, false]);
});

Deno.test("RunClock lets the event loop have turns between brief runs", async () => {
  const clock = new RunClock();
  await clock.time(1000, () => sleep(1));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const end = performance.now() + 400;
  const quick = (brief: boolean) => {
    if (!brief) return sleep(0);
    const until = performance.now() + 2;
    while (performance.now() < until);
    return Promise.resolve();
  };
  while (performance.now() < end) await clock.time(1, quick);
  clearInterval(timer);
  assert(turns >= 2, `${turns} turns`);
});

Deno.test("RunClock passes on what a run throws", async () => {
  await assertRejects(
    () => new RunClock().time(1, () => Promise.reject(new Error("no"))),
    Error,
    "no",
  );
});

Deno.test("RunClock lets signals through while one brief run follows another", async () => {
  const clock = new RunClock();
  await clock.time(1000, () => new Promise((done) => setTimeout(done, 1)));
  let seen: number | undefined;
  const listener = () => seen ??= performance.now();
  Deno.addSignalListener("SIGUSR2", listener);
  const busy = () => {
    const until = performance.now() + 10;
    while (performance.now() < until);
    return Promise.resolve();
  };
  // By chance the one or the other may be seen at once, not all.
  for (let i = 0; i < 12; i++) {
    for (let run = 0; run < 7; run++) await clock.time(1, busy);
    seen = undefined;
    Deno.kill(Deno.pid, "SIGUSR2");
    // Half a second of runs, however long the process stands still between them.
    let runs = 0;
    for (; seen === undefined && runs < 500; runs++) await clock.time(1, busy);
    assert(runs < 50, `after ${runs} runs`);
  }
  Deno.removeSignalListener("SIGUSR2", listener);
});
