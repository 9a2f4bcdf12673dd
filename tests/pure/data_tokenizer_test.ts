import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import table from "../fixtures/data/token_ids.json" with { type: "json" };
import { LocalText, StreamDecoder, Tokenizer } from "../../src/data/mod.ts";
import { BadInputError } from "../../src/errors.ts";
import { jsonBytes, miniFiles, tinyFiles, tinyModelWith, tinyWith } from "../helpers/text_files.ts";

const FILES = { "tiny-llama": tinyFiles, "all-minilm-l6-v2": miniFiles };

for (const [name, expected] of Object.entries(table.models)) {
  Deno.test(`Tokenizer gives transformers' ids and texts with ${name}`, () => {
    const tokenizer = new Tokenizer(FILES[name as keyof typeof FILES]());
    const ids = table.texts.map((text) => tokenizer.encode(text));
    assertEquals(ids, expected.ids);
    assertEquals(ids.map((row) => tokenizer.decode(row)), expected.decoded);
  });
}

Deno.test("Tokenizer knows its special tokens and its size", () => {
  const { bosId, eosId, padId, vocabSize } = new Tokenizer(tinyFiles()).info;
  assertEquals({ bosId, eosId, padId, vocabSize }, {
    bosId: 1,
    eosId: 2,
    padId: 0,
    vocabSize: 512,
  });
});

Deno.test("Tokenizer takes special tokens from special_tokens_map.json where the configuration has none", () => {
  const files = {
    ...tinyFiles(),
    tokenizerConfig: undefined,
    specialTokensMap: jsonBytes({
      eos_token: { content: "<|im_end|>" },
      pad_token: "<|endoftext|>",
    }),
  };
  const { eosId, padId } = new Tokenizer(files).info;
  assertEquals([eosId, padId], [2, 0]);
});

Deno.test("truncate() drops text, not the special tokens around it", () => {
  const tokenizer = new Tokenizer(miniFiles());
  const ids = tokenizer.encode("one two three four five six");
  const cut = tokenizer.truncate(ids, 5);
  assertEquals(cut, [...ids.slice(0, 4), ids[ids.length - 1]]);
});

Deno.test("decode() refuses ids outside the vocabulary and names them", () => {
  const tokenizer = new Tokenizer(tinyFiles());
  for (const id of [512, -1, 1.5, NaN]) {
    assertThrows(() => tokenizer.decode([5, id]), BadInputError, `current value is ${id}`);
  }
});

Deno.test("encode() refuses a token without id instead of handing out undefined", () => {
  const files = tinyWith({
    model: {
      type: "WordPiece",
      vocab: { a: 0 },
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
    },
    pre_tokenizer: null,
    decoder: null,
    post_processor: null,
    added_tokens: [],
  });
  assertThrows(() => new Tokenizer(files).encode("b"), BadInputError, "no id for the token");
});

const UNUSABLE: Record<string, [ReturnType<typeof tinyFiles>, string]> = {
  "no model": [tinyWith({ model: undefined }), `"model" must be an object`],
  "no vocabulary": [tinyModelWith({ vocab: undefined }), `"model.vocab" must be an object`],
  "an empty vocabulary": [tinyModelWith({ vocab: {} }), "its vocabulary is empty"],
  "a negative id": [tinyModelWith({ vocab: { a: -1 } }), `the id of "a"`],
  "a huge id": [tinyModelWith({ vocab: { a: 4e9 } }), "4000000000"],
  "an id that is text": [tinyModelWith({ vocab: { a: "0" } }), `the id of "a"`],
  "one id twice": [tinyModelWith({ vocab: { a: 0, b: 0 } }), "two tokens have the id 0"],
  "no merges": [tinyModelWith({ merges: undefined }), `"model.merges" must be an array`],
  "a merge of three": [tinyModelWith({ merges: ["a b c"] }), "a merge must be two tokens"],
  "an unknown kind of model": [tinyModelWith({ type: "Magic", vocab: [] }), "must be an object"],
  "an unknown step": [tinyWith({ pre_tokenizer: { type: "Magic" } }), "cannot build"],
  "a broken pattern": [
    tinyWith({ pre_tokenizer: { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated" } }),
    "cannot build",
  ],
  "an added token without text": [tinyWith({ added_tokens: [{ id: 0 }] }), "no content"],
  "no JSON": [{ ...tinyFiles(), tokenizerJson: new Uint8Array([0x7b, 0xff]) }, "is not JSON"],
  "a list": [{ ...tinyFiles(), tokenizerJson: jsonBytes([]) }, "must hold a JSON object"],
};

for (const [what, [files, message]] of Object.entries(UNUSABLE)) {
  Deno.test(`Tokenizer refuses ${what}`, () => {
    assertThrows(() => new Tokenizer(files), BadInputError, message);
  });
}

Deno.test("StreamDecoder's pieces join to the text of decode(), and none ends inside a character", async () => {
  const text = new LocalText(tinyFiles());
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: "grapheme", maxLength: 40 }), async (sample) => {
      const [ids] = await text.encode([sample]);
      const stream = new StreamDecoder((sequences) => text.decode(sequences));
      const pieces: string[] = [];
      for (const id of ids) pieces.push(await stream.push(id));
      pieces.push(await stream.finish());
      assertEquals(pieces.join(""), (await text.decode([ids]))[0]);
      assertEquals(pieces.some((piece) => piece.includes("\ufffd")), sample.includes("\ufffd"));
    }),
    { numRuns: 60 },
  );
});

Deno.test("StreamDecoder shows a character as soon as its last byte is there", async () => {
  const text = new LocalText(tinyFiles());
  const [ids] = await text.encode(["🚀!"]);
  const stream = new StreamDecoder((sequences) => text.decode(sequences));
  const pieces = [];
  for (const id of ids) pieces.push(await stream.push(id));
  assertEquals(pieces, ["", "", "", "🚀", "!"]);
});

Deno.test("LocalText rejects what a worker would reject", async () => {
  const text = new LocalText(tinyFiles());
  await assertRejects(() => text.decode([[9999]]), BadInputError, "current value is 9999");
});

Deno.test("Tokenizer refuses tables that it has no room for, and says the bound", () => {
  const most = 2 ** 20;
  const tokens = new Array(most + 1).fill(0);
  const cases: [ReturnType<typeof tinyFiles>, string][] = [
    [tinyModelWith({ type: "Unigram", vocab: tokens }), "it has 1048577 tokens"],
    [tinyModelWith({ vocab: { ...tokens } }), "it has 1048577 tokens"],
    [tinyModelWith({ merges: new Array(2 * most + 1).fill(0) }), "it has 2097153 merges"],
    [tinyWith({ added_tokens: tokens }), "it has 1048577 added tokens"],
  ];
  for (const [files, problem] of cases) {
    const { message } = assertThrows(() => new Tokenizer(files), BadInputError, problem);
    assertMatch(message, /, and graft accepts at most (1048576|2097152)$/);
  }
});
