import { assertEquals } from "@std/assert";
import { parseComputedMs } from "../../src/system/process_work.ts";

Deno.test("parseComputedMs() reads the time behind any name", () => {
  const counts = "1 2 3 4 5 6 7 8 9 10 41 7 0 0";
  assertEquals(parseComputedMs(`12 (deno) S ${counts}`), 480);
  assertEquals(parseComputedMs(`12 (a) S (b) R ${counts}`), 480);
});
