import { assertEquals, assertRejects } from "@std/assert";
import { Dataset, LocalText, prepareRows } from "../../src/data/mod.ts";
import { BadInputError } from "../../src/errors.ts";
import { memorySource } from "../helpers/memory_source.ts";
import { miniFiles, tinyFiles } from "../helpers/text_files.ts";

const open = (rows: readonly unknown[]) =>
  Dataset.open(memorySource("d.jsonl", rows.map((row) => JSON.stringify(row)).join("\n")));

const pair = (prompt: string, completion: string) => ({ prompt, completion });

Deno.test("prepareRows() counts what was cut and what was left out, and says where first", async () => {
  const data = await open([
    pair("a", "b"),
    pair("a", "b ".repeat(60)),
    pair("a ".repeat(60), "b"),
    pair("a ".repeat(70), "b"),
  ]);
  const { rows, report } = await prepareRows(data, new LocalText(tinyFiles()), { maxLength: 48 });
  assertEquals([rows.count, report.rows], [2, 2]);
  assertEquals({ ...report.truncated }, { count: 3, first: "d.jsonl:2" });
  assertEquals({ ...report.leftOut }, { count: 2, first: "d.jsonl:3" });
  assertEquals(report.tokens, rows.tokenCount(0) + rows.tokenCount(1));
});

Deno.test("prepareRows() leaves out chats without an assistant's turn and texts of nothing", async () => {
  const chats = await open([
    { messages: [{ role: "user", content: "u" }] },
    { messages: [{ role: "user", content: "u" }, { role: "assistant", content: "a" }] },
  ]);
  const text = new LocalText(tinyFiles());
  const { report } = await prepareRows(chats, text, { maxLength: 64 });
  assertEquals({ ...report.leftOut }, { count: 1, first: "d.jsonl:1" });

  const labelled = await open([{ text: " ", label: "x" }, { text: "t", label: "y" }]);
  const classes = new Map([["x", 0], ["y", 1]]);
  const result = await prepareRows(labelled, new LocalText(miniFiles()), { maxLength: 9, classes });
  assertEquals(result.report.leftOut.count, 1);
  assertEquals((await result.rows.row(0)).classId, 1);
});

Deno.test("prepareRows() refuses data in which nothing is to be learned", async () => {
  const data = await open([{ messages: [{ role: "user", content: "u" }] }]);
  await assertRejects(
    () => prepareRows(data, new LocalText(tinyFiles()), { maxLength: 64 }),
    BadInputError,
    "d.jsonl: nothing to learn in any of the 1 rows",
  );
});

Deno.test("prepareRows() takes a choice of rows, tells its progress and stops when asked", async () => {
  const data = await open(Array.from({ length: 600 }, (_, i) => pair(`p${i}`, `c${i}`)));
  const text = new LocalText(tinyFiles());
  const chosen = await prepareRows(data, text, { maxLength: 64, indices: [3, 599] });
  assertEquals(chosen.rows.count, 2);
  const abort = new AbortController();
  const progress: number[] = [];
  const onProgress = (done: number) => {
    progress.push(done);
    if (done > 300) abort.abort();
  };
  await assertRejects(
    () => prepareRows(data, text, { maxLength: 64, onProgress, signal: abort.signal }),
    DOMException,
  );
  assertEquals(progress, [256, 512]);
});
