import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { formatRows, holdBack, parseRows } from "../../src/http/page/data/rows.js";

Deno.test("formatRows() and parseRows() give the same rows, whatever is in them", () => {
  const text = fc.string({ unit: "binary" }).filter((text) => text.trim() !== "");
  const kind = fc.constantFrom("pairs" as const, "classes" as const);
  fc.assert(
    fc.property(fc.array(fc.record({ input: text, output: text })), kind, (rows, kind) => {
      assertEquals(parseRows(formatRows(rows, kind), kind), { rows, refused: [] });
    }),
    { numRuns: 30 },
  );
});

Deno.test("formatRows() writes graft's names and leaves out rows that are not complete", () => {
  const rows = [{ input: "a", output: "b" }, { input: " ", output: "b" }, {
    input: "a",
    output: "",
  }];
  assertEquals(formatRows(rows, "pairs"), '{"prompt":"a","completion":"b"}\n');
  assertEquals(formatRows(rows, "classes"), '{"text":"a","label":"b"}\n');
});

Deno.test("parseRows() reads files with a mark, CRLF, blank lines and short chats, and names other lines", () => {
  const lines = [
    '\ufeff{"prompt": "a", "completion": "b"}',
    "",
    '{"messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}',
    '{"prompt": "a"}',
    '{"prompt": "a", "completion": 1}',
    "null",
    "{",
    '{"messages": [{"role": "user", "content": "c"}]}',
  ];
  assertEquals(parseRows(lines.join("\r\n"), "pairs"), {
    rows: [{ input: "a", output: "b" }, { input: "c", output: "d" }],
    refused: [4, 5, 6, 7, 8],
  });
  assertEquals(parseRows(lines.join("\n"), "classes").rows, []);
});

Deno.test("holdBack() holds every tenth row back, at least one, and never all", () => {
  const rows = (count: number) => Array.from({ length: count }, (_, i) => i);
  assertEquals(holdBack(rows(21)).validation, [9, 19]);
  assertEquals(holdBack(rows(3)), { training: [0, 1], validation: [2] });
  assertEquals(holdBack(rows(1)), { training: [0], validation: [] });
  assertEquals(holdBack([]), { training: [], validation: [] });
});
