import { assertEquals } from "@std/assert";
import { countCases } from "../../scripts/test.ts";

Deno.test("countCases() tells passed, failed and skipped test cases of a JUnit report apart", () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="4" failures="1" errors="0" time="1.5">
  <testsuite name="a_test.ts" tests="4" disabled="1" errors="0" failures="1">
    <testcase name="one" classname="a_test.ts" time="0.1" line="1" col="1">
    </testcase>
    <testcase name="two &gt; 1" classname="a_test.ts" time="0.1"/>
    <testcase name="three" classname="a_test.ts" time="0.1">
      <failure message="Uncaught Error">at a_test.ts</failure>
    </testcase>
    <testcase name="four" classname="a_test.ts" time="0">
      <skipped/>
    </testcase>
  </testsuite>
</testsuites>`;
  assertEquals(countCases(report), { passed: 2, failed: 1, skipped: 1 });
  assertEquals(countCases("<testsuites></testsuites>"), { passed: 0, failed: 0, skipped: 0 });
});
