/** The text formats of {@linkcode FORMATS}: tokenizers with chat templates, and JSON lines. */
import { Dataset, GuardedText } from "../../src/data/mod.ts";
import type { HostileFormat } from "../../scripts/campaigns/hostile/format.ts";
import { damaged } from "../../scripts/campaigns/hostile/mutators/bytes.ts";
import { otherJson, SHARP_VALUES } from "../../scripts/campaigns/hostile/mutators/json.ts";
import { pick, type Random } from "../../scripts/campaigns/hostile/random.ts";
import { parseTokenizerJson } from "../../src/data/tokenizer_json.ts";
import { memorySource } from "./memory_source.ts";
import { tinyFiles, tinyWith } from "./text_files.ts";

/** Steps of other tokenizers than the tiny one's, so that mutants reach their code as well. */
const OTHER_STEPS: readonly Record<string, unknown>[] = [
  {
    normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Lowercase" }] },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: "(\\p{L}+|\\d{1,3})+" }, behavior: "Isolated" },
        { type: "Digits", individual_digits: true },
        { type: "Punctuation" },
      ],
    },
  },
  {
    model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["▁a", -1], ["b", -2.5]] },
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
  },
  {
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: { "[UNK]": 0, "a": 1, "##b": 2 },
    },
    normalizer: { type: "BertNormalizer", clean_text: true, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    decoder: { type: "WordPiece", prefix: "##" },
  },
];

const tokenizerSeeds = [tinyFiles(), ...OTHER_STEPS.map(tinyWith)].map((files) =>
  files.tokenizerJson
);

const TOKENIZER_WORDS = [
  `{"Regex":"(a+)+$"}`,
  `{"Regex":"(?:.*.*)*x"}`,
  `"vocab":{`,
  `"type":"Replace",`,
  `"content":"aaaaaaaaaaaaaaaa",`,
  "4294967295",
  "-1",
  "1e400",
  "null",
  "[]",
  "{}",
  `"__proto__":{`,
  "[[[[",
  "}",
  ",",
  "\\u0000",
  "\\ud800",
  `"`,
];

/** Reads a tokenizer and uses it, as graft does: in a worker. */
export const HOSTILE_TOKENIZER: HostileFormat = {
  name: "tokenizer",
  seeds: () => tokenizerSeeds,
  mutate: (random, seeds) =>
    random(2) === 0
      ? damaged(seeds, TOKENIZER_WORDS, random)
      : otherJson(seeds, SHARP_VALUES, random),
  async prepare() {
    (await GuardedText.start(tinyFiles()))[Symbol.dispose]();
  },
  async probe(file) {
    // The worker's own first look: most mutants end here, and no worker is started for them.
    parseTokenizerJson(file, "tokenizer.json");
    // Half the time allowed is for starting the worker.
    const options = { deadlineMs: 1000 };
    using text = await GuardedText.start({ ...tinyFiles(), tokenizerJson: file }, options);
    const ids = await text.encode([`${"a".repeat(40)}b \u{1f680} 12,345 <|im_end|>\n\u0301`]);
    await text.decode(ids, { skipSpecialTokens: false });
  },
};

const chat = {
  messages: [{ role: "user", content: "\u00fc" }, { role: "assistant", content: "a" }],
};
const jsonlSeeds = [
  [chat, { ...chat, tools: [{ name: "f" }] }],
  [{ prompt: "p", completion: "c" }, { prompt: "q\n", completion: "" }],
  [{ text: "t" }, { text: "\ud83d\ude80" }],
  [{ text: "t", label: "x" }, { text: "u", label: 3 }],
].map((rows) => new TextEncoder().encode(rows.map((row) => JSON.stringify(row)).join("\n")));
const csvSeeds = [`text,label\r\na,b\r\n"c ""d""\n",e\r\n`, "\ufeffprompt;completion\na;b\n"]
  .map((text) => new TextEncoder().encode(text));

const JSONL_WORDS = [
  "\n",
  "\r\n",
  "\ufeff",
  `"`,
  `""`,
  ",",
  ";",
  "\t",
  "{",
  "}",
  "[[[[[[[[",
  `"__proto__":{"x":1},`,
  `"\\u005f_proto__":1,`,
  `"role":"robot",`,
  `"content":[{"type":"text","text":"t"}],`,
  `"weight":0,`,
  "\\ud800",
  "\\u0000",
  "1e400",
  "null",
];

/** JSON lines of which one has other values. */
function otherRow(random: Random): Uint8Array {
  const lines = new TextDecoder().decode(pick(random, jsonlSeeds)).split("\n");
  const row = random(lines.length);
  const other = otherJson([new TextEncoder().encode(lines[row])], SHARP_VALUES, random);
  return new TextEncoder().encode(lines.with(row, new TextDecoder().decode(other)).join("\n"));
}

/** Reads a data set, JSON lines or CSV, and every row of it again. */
export const HOSTILE_JSONL: HostileFormat = {
  name: "jsonl",
  seeds: () => [...jsonlSeeds, ...csvSeeds],
  mutate: (random) =>
    random(2) === 0
      ? damaged(pick(random, [jsonlSeeds, csvSeeds]), JSONL_WORDS, random)
      : otherRow(random),
  async probe(file) {
    const data = await Dataset.open(memorySource("data", file));
    for await (const { index } of data.rows()) await data.row(index);
  },
};
