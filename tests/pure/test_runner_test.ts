import { assertEquals, assertRejects } from "@std/assert";
import {
  countCases,
  divideFiles,
  failureReport,
  inTurns,
  jointModule,
  sumCounts,
} from "../../scripts/test.ts";

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

Deno.test("failureReport() is what was told from the last errors on, else the last lines", () => {
  const errors = (title: string) =>
    `two ... FAILED\n\n${title}\n\ntwo => ./a_test.ts:1:6\nerror: Error: no\n`;
  const told = "two => ./a_test.ts:1:6\nerror: Error: no";
  assertEquals(failureReport(errors(" ERRORS ")), ` ERRORS \n\n${told}`);
  const coloured = "\x1b[0m\x1b[1m\x1b[41m ERRORS \x1b[0m";
  assertEquals(failureReport(errors(coloured)), `${coloured}\n\n${told}`);
  assertEquals(failureReport("no ERRORS here\nend\n"), "no ERRORS here\nend");
  const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`);
  assertEquals(failureReport(lines.join("\n")), lines.slice(60).join("\n"));
});

Deno.test("sumCounts() adds up", () => {
  assertEquals(
    sumCounts([{ passed: 1, failed: 2, skipped: 3 }, { passed: 10, failed: 0, skipped: 1 }]),
    { passed: 11, failed: 2, skipped: 4 },
  );
});

Deno.test("divideFiles() gives each process some of files with like names, every file once", () => {
  const files = ["a1", "a2", "a3", "b1", "b2"];
  assertEquals(divideFiles(files, 2), [["a1", "b1"], ["a2", "b2"], ["a3"]]);
  assertEquals(divideFiles(files, 1), files.map((file) => [file]));
  assertEquals(divideFiles(files, Infinity), [files]);
  assertEquals(divideFiles([], 4), []);
});

Deno.test("jointModule() imports each file by its whole address, whatever stands in its path", () => {
  assertEquals(
    jointModule(["/a b/one_test.ts", '/"/two_test.ts']),
    'import "file:///a%20b/one_test.ts";\nimport "file:///%22/two_test.ts";\n',
  );
});

Deno.test("inTurns() keeps so many at work, and results in order", async () => {
  let [working, most] = [0, 0];
  const waits = [3, 1, 2, 0, 1];
  const results = await inTurns(waits, 2, async (turns, index) => {
    most = Math.max(most, ++working);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    working--;
    return 10 * index + turns;
  });
  assertEquals(most, 2);
  assertEquals(results, [3, 11, 22, 30, 41]);
});

Deno.test("inTurns() begins a value when fewer are at work than it may have beside it", async () => {
  let working = 0;
  const beside: number[] = [];
  await inTurns([1, 1, 3, 3, 3, 1], (jobs) => jobs, async (_, index) => {
    beside.push(working++);
    for (let turn = 0; turn < 10 * (index + 1); turn++) await Promise.resolve();
    working--;
  });
  assertEquals(beside, [0, 0, 1, 2, 2, 0]);
});

Deno.test("inTurns() fails where one call does", async () => {
  await assertRejects(() => inTurns([1, 2], 1, (value) => Promise.reject(Error(`${value}`))));
});
