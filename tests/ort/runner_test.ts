import { assertEquals } from "@std/assert";
import { findLibrary, LOWEST_ORT } from "../../ffi/mod.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { oldestOrt } from "../helpers/oldest_ort.ts";
import { runnerCases } from "../helpers/runner_cases.ts";

runnerCases("the library graft brings", { ortLib: findLibrary() });

const oldest = await oldestOrt();
if ("path" in oldest) {
  runnerCases("the oldest supported library", { ortLib: oldest.path });
  Deno.test("createOrtRunner() runs on the release that is stated as the lowest", () => {
    using runner = createOrtRunner({ ortLib: oldest.path });
    assertEquals(runner.version.join("."), LOWEST_ORT);
  });
} else {
  console.log(`skipped: ${oldest.skipped}`);
  Deno.test({
    name: `the oldest supported library: ${oldest.skipped}`,
    ignore: true,
    fn: () => {},
  });
}
