import { assert, assertEquals, assertRejects } from "@std/assert";
import { stringify } from "@std/csv";
import fc from "fast-check";
import { Dataset, type DatasetOptions, type Row } from "../../src/data/mod.ts";
import { BadInputError } from "../../src/errors.ts";
import { memorySource } from "../helpers/memory_source.ts";

const open = (content: string | Uint8Array, name = "data.jsonl", options: DatasetOptions = {}) =>
  Dataset.open(memorySource(name, content), options);

async function rowsOf(dataset: Dataset): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const { row } of dataset.rows()) rows.push(row);
  return rows;
}

const lines = (...rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join("\n");

const PAIR = { prompt: "p", completion: "c" };
const CHAT = { messages: [{ role: "user", content: "u" }, { role: "assistant", content: "a" }] };

Deno.test("Dataset finds the shape of rows by looking", async () => {
  assertEquals((await open(lines(CHAT))).kind, "messages");
  assertEquals((await open(lines(PAIR))).kind, "completion");
  assertEquals((await open(lines({ text: "t" }))).kind, "text");
  for (const label of ["label", "category", "intent", "class"]) {
    assertEquals((await open(`text,${label}\na,b\n`, "d.csv")).kind, "label");
    assertEquals((await open(lines({ text: "t", [label]: "x" }))).kind, "label");
  }
  assertEquals((await open("text,label\na,b\n", "no ending")).kind, "label");
  assertEquals((await open("prompt;completion\na;b\n", "d.csv")).kind, "completion");
});

Deno.test("Dataset follows the task and the user's choice of columns over its own look", async () => {
  const both = lines({ text: "t", label: "x", title: "h", topic: "y" });
  assertEquals((await open(both, "d.jsonl", { task: "causal" })).kind, "text");
  const chosen = await open(both, "d.jsonl", { columns: { text: "title", label: "topic" } });
  assertEquals(await rowsOf(chosen), [{ kind: "label", text: "h", label: "y" }]);
  const prompted = await open(both, "d.jsonl", { columns: { prompt: "title" } });
  assertEquals(await rowsOf(prompted), [{ kind: "label", text: "h", label: "x" }]);
  const text = await open(lines({ ...PAIR, text: "t" }), "d.jsonl", { kind: "text" });
  assertEquals(await rowsOf(text), [{ kind: "text", text: "t" }]);
});

Deno.test("Dataset reads chats with tools, list content and a prompt made of messages", async () => {
  const call = { role: "assistant", content: null, tool_calls: [{ id: 1 }] };
  const parts = {
    role: "user",
    content: [{ type: "text", text: "a" }, { type: "text", text: "b" }],
  };
  const [chat, pair] = [
    await rowsOf(await open(lines({ messages: [parts, call], tools: [{ name: "f" }] }))),
    await rowsOf(await open(lines({ prompt: CHAT.messages, completion: [CHAT.messages[1]] }))),
  ];
  assertEquals(chat, [{
    kind: "messages",
    messages: [{ role: "user", content: "ab" }, { ...call, content: "" }],
    firstTarget: 0,
    tools: [{ name: "f" }],
  } as unknown as Row]);
  assertEquals(pair.map((row) => row.kind === "messages" && row.firstTarget), [2]);
});

Deno.test("Dataset skips a byte order mark, CR before LF, blank lines and a missing last line end", async () => {
  const content = "\ufeff\r\n" + JSON.stringify(PAIR) + "\r\n  \r\n\n" + JSON.stringify(PAIR);
  const dataset = await open(content);
  assertEquals(dataset.count, 2);
  assertEquals([dataset.place(0), dataset.place(1)], ["data.jsonl:2", "data.jsonl:5"]);
  const csv = await open('\ufefftext,label\r\n"a\r\nb",x\r\n\r\nc,y\r\n', "d.csv");
  assertEquals(await rowsOf(csv), [
    { kind: "label", text: "a\r\nb", label: "x" },
    { kind: "label", text: "c", label: "y" },
  ]);
  assertEquals(csv.place(1), "d.csv:5");
});

Deno.test("Dataset takes numbers and booleans as labels", async () => {
  const rows = [{ text: "a", label: 3 }, { text: "b", label: true }];
  assertEquals([...(await open(lines(...rows))).labels], ["3", "true"]);
});

const BAD: Record<string, [string | Uint8Array, string, string, DatasetOptions?]> = {
  "no rows": ["\n\n", "d.jsonl", "d.jsonl: there are no rows"],
  "no rows below a heading": ["text,label\n", "d.csv", "d.csv: there are no rows"],
  "a line that is not JSON": [
    lines(PAIR) + "\n{'a': 1}",
    "d.jsonl",
    "d.jsonl:2: the line is not JSON",
  ],
  "a JSON array": [`[${lines(PAIR)}]`, "d.json", "a JSON array is not JSONL"],
  "a line that is a number": [lines(PAIR, 5), "d.jsonl", "d.jsonl:2: a line must be a JSON object"],
  "UTF-16": [new Uint8Array([0xff, 0xfe, 0x7b, 0]), "d.jsonl", "the file is UTF-16"],
  "bytes that are not UTF-8": [
    new Uint8Array([...new TextEncoder().encode(lines(PAIR) + "\n"), 0x22, 0xff, 0x22]),
    "d.jsonl",
    "d.jsonl:2: the bytes are not UTF-8",
  ],
  "half a surrogate pair": [`{"text":"\\ud800"}`, "d.jsonl", "half of a surrogate pair"],
  "a row over the limit": [
    lines(PAIR, { ...PAIR, prompt: "x".repeat(200) }),
    "d.jsonl",
    "d.jsonl:2: a row may have at most 100 bytes",
    { maxRowBytes: 100 },
  ],
  "mixed shapes": [lines(PAIR, CHAT), "d.jsonl", `d.jsonl:2: the row has no "prompt" though`],
  "an unknown role": [
    lines({ messages: [{ role: "robot", content: "" }] }),
    "d.jsonl",
    "d.jsonl:1: message 1: the role must be one of system, developer, user, assistant, tool",
  ],
  "no messages": [lines({ messages: [] }), "d.jsonl", `"messages" must be an array of`],
  "a message of a picture": [
    lines({ messages: [{ role: "user", content: [{ type: "image_url" }] }] }),
    "d.jsonl",
    `only parts {"type": "text"} can be learned`,
  ],
  "a prompt that is a number": [
    lines({ ...PAIR, prompt: 5 }),
    "d.jsonl",
    `"prompt" must be a string`,
  ],
  "no known columns": [lines({ a: 1, b: 2 }), "d.jsonl", `its columns are "a", "b"`],
  "a column that is not there": [
    lines({ text: "t" }),
    "d.jsonl",
    `there is no column "topic"`,
    { columns: { label: "topic" } },
  ],
  "causal data for classification": [
    lines(PAIR),
    "d.jsonl",
    "for classification, which needs a text and a label",
    { task: "classification" },
  ],
  "an empty label": [`text,label\na,b\nc, \n`, "d.csv", `d.csv:3: "label" is empty`],
  "__proto__ in a row": [`{"text":"t","__proto__":{"x":1}}`, "d.jsonl", "__proto__"],
  "__proto__ deep in a row": [
    `{"messages":[{"role":"user","content":"","\\u005f_proto__":1}]}`,
    "d.jsonl",
    "__proto__",
  ],
  "__proto__ in a heading": ["text,label,__proto__\na,b,c", "d.csv", "__proto__"],
  "deep nesting": [
    `{"text":"t","x":${"[".repeat(1e5)}${"]".repeat(1e5)}}`,
    "d.jsonl",
    "nested deeper",
  ],
  "a row with too many fields": [
    "text,label\na,b,c\n",
    "d.csv",
    "d.csv:2: a row must have 2 fields",
  ],
  "a quote that is never closed": [
    `text,label\n"a,b\nc,d\n`,
    "d.csv",
    "d.csv:2: a quote opened in",
  ],
  "text after a closing quote": [`text,label\n"a"b,c\n`, "d.csv", "after a closing quote comes"],
  "a heading twice": ["text,text\na,b\n", "d.csv", `the heading "text" is there twice`],
};

for (const [what, [content, name, message, options]] of Object.entries(BAD)) {
  Deno.test(`Dataset refuses ${what} and names the place`, async () => {
    await assertRejects(() => open(content, name, options), BadInputError, message);
  });
}

Deno.test("Dataset refuses a line of 100 MB after reading some 17 of them", async () => {
  const size = 100 << 20;
  let bytesRead = 0;
  const source = {
    name: "huge.jsonl",
    sizeBytes: size,
    read(_offset: number, length: number) {
      bytesRead += length;
      return Promise.resolve(new Uint8Array(length).fill(0x61));
    },
  };
  await assertRejects(() => Dataset.open(source), BadInputError, "huge.jsonl:1: a row may have");
  assertEquals(bytesRead < 20 << 20, true);
});

Deno.test("Dataset reads back every CSV that the standard library writes, row by row", async () => {
  const field = fc.string({
    unit: fc.constantFrom("a", '"', ",", "\n", "\r\n", " ", ";", "é"),
    maxLength: 8,
  });
  const cell = field.map((text) => `x${text}x`);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 12 }),
      async (data) => {
        const content = stringify([["prompt", "completion"], ...data], {
          crlf: data.length % 2 === 0,
        });
        const dataset = await open(content, "d.csv");
        const expected = data.map(([prompt, completion]) => ({
          kind: "completion",
          prompt,
          completion,
        }));
        assertEquals(await rowsOf(dataset), expected as Row[]);
        for (let i = data.length - 1; i >= 0; i--) {
          assertEquals(await dataset.row(i), expected[i] as Row);
        }
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("Dataset's rows() gives a choice of rows, and place() their lines", async () => {
  const dataset = await open(lines(...["a", "b", "c", "d"].map((text) => ({ text }))));
  const found = [];
  for await (const { index, row, place } of dataset.rows([1, 3])) found.push([index, row, place]);
  assertEquals(found, [
    [1, { kind: "text", text: "b" }, "data.jsonl:2"],
    [3, { kind: "text", text: "d" }, "data.jsonl:4"],
  ]);
});

Deno.test("Dataset's digest follows the rows, not line ends or blank lines", async () => {
  const one = await open(lines(PAIR, PAIR));
  const same = await open(lines(PAIR, PAIR).replace("\n", "\r\n\r\n"));
  const other = await open(lines(PAIR, { ...PAIR, prompt: "q" }));
  assertEquals(one.digest, same.digest);
  assertEquals(one.digest === other.digest, false);
});

Deno.test("Dataset's promptGroup() is one number for rows of one prompt", async () => {
  const dataset = await open(
    lines(PAIR, { ...PAIR, completion: "other" }, { ...PAIR, prompt: "q" }),
  );
  assertEquals(dataset.promptGroup(0), dataset.promptGroup(1));
  assertEquals(dataset.promptGroup(0) === dataset.promptGroup(2), false);
});

Deno.test("Dataset.open() names a row of too many characters, and its size", async () => {
  const rows = [{ text: "a" }, { text: "a".repeat(2 ** 20 + 1) }].map((row) => JSON.stringify(row));
  await assertRejects(
    () => Dataset.open(memorySource("d.jsonl", rows.join("\n"))),
    BadInputError,
    "d.jsonl:2: the text has 1048577 characters, and graft accepts at most 1048576",
  );
});

Deno.test("Dataset.open() takes a CSV of 200,000 columns in the time of its bytes", async () => {
  const count = 200_000;
  const header = Array.from({ length: count }, (_, i) => `column ${i}`).join(",");
  const began = performance.now();
  const data = await open(`text,${header}\n${"a,".repeat(count)}a\n`, "d.csv");
  assertEquals(await data.row(0), { kind: "text", text: "a" });
  assert(performance.now() - began < 5000);
});
