import { assert, assertEquals } from "@std/assert";
import { ownThread, threadWork } from "../../src/system/thread_work.ts";

Deno.test("threadWork() follows what a thread computes, and knows no thread that is not there", () => {
  const thread = ownThread()!;
  const before = threadWork(thread)!;
  const end = performance.now() + 200;
  while (performance.now() < end);
  const after = threadWork(thread)!;
  assertEquals(after.asleep, false);
  const computedMs = after.computedMs - before.computedMs;
  assert(computedMs >= 20 && computedMs <= 220, `${computedMs} ms`);
  assertEquals(threadWork(2 ** 22), undefined);
});
