/** tokenizer.json: read, and used on a text, as graft does: in a process of its own. */
import { GuardedText } from "../../../../src/data/mod.ts";
import { parseTokenizerJson } from "../../../../src/data/tokenizer_json.ts";
import { miniFiles, tinyFiles, tinyWith } from "../../../../tests/helpers/text_files.ts";
import { type HostileFormat, lazily, RUNNING } from "../format.ts";
import { damaged } from "../mutators/bytes.ts";
import { otherJson, SHARP_VALUES } from "../mutators/json.ts";
import { otherTokenizer } from "../mutators/tokenizer_steps.ts";
import { OBJECT_WORDS } from "../mutators/words.ts";
import type { Random } from "../random.ts";

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
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<|im_start|>", type_id: 0 } }, { Sequence: { id: "A" } }],
      pair: [],
      special_tokens: {},
    },
  },
  {
    model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["▁a", -1], ["b", -2.5]] },
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
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

const WORDS = [
  `{"Regex":"(a+)+$"}`,
  `"type":"Replace",`,
  `"type":"Prepend",`,
  `"content":"${"a".repeat(64)}",`,
  "4294967295",
  "-1",
  "1e400",
  "null",
  "[]",
  "{}",
  ...OBJECT_WORDS.map((word) => `"${word}":{`),
  "[".repeat(10_000),
  "}",
  ",",
  "\\u0000",
  "\\ud800",
  `"`,
];

function mutate(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  switch (random(4)) {
    case 0:
      return damaged(seeds, WORDS, random);
    case 1:
      return otherJson(seeds, SHARP_VALUES, random);
    default:
      return otherTokenizer(seeds, random);
  }
}

/** What the texts of a probe have in common: letters, digits, marks, a token of the template. */
const TEXT = `${"a".repeat(40)}b \u{1f680} 12,345 <|im_end|>\n\u0301 constructor __proto__`;

/** Shorter than usual: what runs without end is to be met often. */
const DEADLINE_MS = 400;

/** Uses a text processor as training and answering do. */
export async function useText(text: GuardedText): Promise<void> {
  const [ids] = await text.encode([TEXT]);
  await text.decode([ids.slice(0, 64)], { skipSpecialTokens: false });
  await text.decode([ids.slice(0, 64)]);
  const row = { kind: "completion", prompt: TEXT, completion: "b" } as const;
  await text.encodeRows([{ index: 0, place: "data:1", row }], { maxLength: 64 });
}

export const TOKENIZER: HostileFormat = {
  name: "tokenizer",
  limits: RUNNING,
  seeds: lazily(() =>
    [tinyFiles(), ...OTHER_STEPS.map(tinyWith)].map((files) => files.tokenizerJson)
      .concat(miniFiles().tokenizerJson)
  ),
  mutate,
  async prepare() {
    (await GuardedText.start(tinyFiles()))[Symbol.dispose]();
  },
  async probe(file) {
    // The process's own first look: many mutants end here, and none is started for them.
    parseTokenizerJson(file, "tokenizer.json");
    const options = { deadlineMs: DEADLINE_MS };
    using text = await GuardedText.start({ ...tinyFiles(), tokenizerJson: file }, options);
    await useText(text);
  },
};
