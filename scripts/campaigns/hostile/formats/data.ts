/** Data sets, JSON lines and separated values: read, and every row encoded. */
import { Dataset, LocalText, prepareRows } from "../../../../src/data/mod.ts";
import { memorySource } from "../../../../tests/helpers/memory_source.ts";
import { tinyFiles } from "../../../../tests/helpers/text_files.ts";
import { type HostileFormat, lazily, RUNNING } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { otherJson, SHARP_VALUES } from "../mutators/json.ts";
import { otherRows } from "../mutators/rows.ts";
import { OBJECT_WORDS } from "../mutators/words.ts";
import { pick, type Random } from "../random.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

const CHAT = {
  messages: [{ role: "user", content: "\u00fc" }, { role: "assistant", content: "a" }],
};
const JSON_LINES = [
  [CHAT, { ...CHAT, tools: [{ name: "f" }] }],
  [{ prompt: "p", completion: "c" }, { prompt: "q\n", completion: "" }],
  [{ text: "t" }, { text: "\ud83d\ude80" }],
  [{ text: "t", label: "x" }, { text: "u", label: 3 }],
].map((rows) => bytes(rows.map((row) => JSON.stringify(row)).join("\n")));
const SEPARATED = [`text,label\r\na,b\r\n"c ""d""\n",e\r\n`, "\ufeffprompt;completion\na;b\n"]
  .map(bytes);

const WORDS = [
  ...["\n", "\r\n", "\ufeff", `"`, `""`, ",", ";", "\t", "{", "}", "[".repeat(10_000)],
  ...OBJECT_WORDS.map((word) => `"${word}":{"x":1},`),
  `"\\u005f_proto__":1,`,
  `"role":"robot",`,
  `"content":[{"type":"text","text":"t"}],`,
  `"weight":0,`,
  ...["\\ud800", "\\u0000", "1e400", "null"],
];

/** JSON lines of which one has other values. */
function otherRow(random: Random): Uint8Array {
  const lines = new TextDecoder().decode(pick(random, JSON_LINES)).split("\n");
  const row = random(lines.length);
  const other = otherJson([bytes(lines[row])], SHARP_VALUES, random);
  return bytes(lines.with(row, new TextDecoder().decode(other)).join("\n"));
}

function mutate(random: Random): Uint8Array {
  switch (random(4)) {
    case 0:
      return otherRow(random);
    case 1:
      return otherRows(random);
    default:
      return damaged(
        pick(random, [JSON_LINES, SEPARATED, [...JSON_LINES, ...SEPARATED]]),
        WORDS,
        random,
      );
  }
}

const text = lazily(() => new LocalText(tinyFiles()));

export const DATA: HostileFormat = {
  name: "data",
  limits: RUNNING,
  seeds: () => [...JSON_LINES, ...SEPARATED],
  mutate,
  async probe(file) {
    const data = await Dataset.open(memorySource("data", file));
    for await (const { index } of data.rows()) await data.row(index);
    // A tokenizer that is trusted: what is attacked here are the rows.
    await prepareRows(data, text(), { maxLength: 512 });
  },
};
