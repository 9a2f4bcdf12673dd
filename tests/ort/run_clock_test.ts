import { assert } from "@std/assert";
import { RunClock } from "../../src/runtime/run_clock.ts";

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
    const sent = performance.now();
    Deno.kill(Deno.pid, "SIGUSR2");
    while (seen === undefined && performance.now() < sent + 5000) await clock.time(1, busy);
    assert(seen !== undefined && seen - sent < 1000, `after ${seen! - sent} ms`);
  }
  Deno.removeSignalListener("SIGUSR2", listener);
});
