import { assert, assertEquals } from "@std/assert";
import { computedMs } from "../../src/system/process_work.ts";

Deno.test("computedMs() follows what a process computes, and knows none that is not there", () => {
  const before = computedMs(Deno.pid)!;
  const end = performance.now() + 200;
  while (performance.now() < end);
  const computed = computedMs(Deno.pid)! - before;
  assert(computed >= 20, `${computed} ms`);
  assertEquals(computedMs(2 ** 22), undefined);
});
