import { assertEquals } from "@std/assert";
import { parseThreadStat } from "../../src/system/thread_work.ts";

Deno.test("parseThreadStat() reads time and state behind any name", () => {
  const counts = "1 2 3 4 5 6 7 8 9 10 41 7 0 0";
  assertEquals(parseThreadStat(`12 (worker-1) S ${counts}`), { computedMs: 480, asleep: true });
  assertEquals(parseThreadStat(`12 (a) S (b) R ${counts}`), { computedMs: 480, asleep: false });
  assertEquals(parseThreadStat(`12 (c) D ${counts}`).asleep, false);
});
