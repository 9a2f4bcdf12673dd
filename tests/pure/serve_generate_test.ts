import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Message, TextProcessor } from "../../src/data/mod.ts";
import { UsageError } from "../../src/errors.ts";
import { generate } from "../../src/serve/generate.ts";
import { SerialSessions } from "../../src/serve/serial_sessions.ts";
import { TextGenerator } from "../../src/serve/text_generator.ts";
import type { TokenReader } from "../../src/serve/token_sessions.ts";

const END = 0;
const LETTERS = "_abcdefgh";

/** Says the letters of a text one after the other, then the end token, whatever the prompt is. */
class Reciter implements TokenReader {
  readonly reads: (readonly number[])[] = [];
  #next = 0;

  constructor(readonly text: string) {}

  continueTo(ids: readonly number[]): Promise<Float32Array> {
    this.#next = 0;
    return this.advance(ids);
  }

  advance(ids: readonly number[]): Promise<Float32Array> {
    this.reads.push(ids);
    const logits = new Float32Array(LETTERS.length + 1);
    logits[LETTERS.length] = 9; // a row of the head that no token has
    logits[Math.max(END, LETTERS.indexOf(this.text[this.#next++] ?? "_"))] = 5;
    return Promise.resolve(logits);
  }
}

const decoder = () => ({
  push: (id: number) => Promise.resolve(LETTERS[id]),
  finish: () => Promise.resolve(""),
});

const options = { maxTokens: 20, endIds: new Set([END]), vocabSize: LETTERS.length };

Deno.test("generate() ends at an end token, which is no part of the text", async () => {
  const model = new Reciter("abc");
  const pieces: string[] = [];
  const answer = await generate(
    model,
    [7, 8],
    decoder(),
    options,
    (piece) => void pieces.push(piece),
  );
  assertEquals(answer, { text: "abc", ids: [1, 2, 3], finishReason: "stop" });
  assertEquals(pieces, ["a", "b", "c"]);
  assertEquals(model.reads, [[7, 8], [1], [2], [3]]);
});

Deno.test("generate() ends at the most tokens without reading one more", async () => {
  const model = new Reciter("abcdef");
  const answer = await generate(model, [7], decoder(), { ...options, maxTokens: 2 });
  assertEquals([answer.text, answer.finishReason], ["ab", "length"]);
  assertEquals(model.reads, [[7], [1]]);
  const none = await generate(new Reciter("a"), [7], decoder(), { ...options, maxTokens: 0 });
  assertEquals([none.text, none.finishReason], ["", "length"]);
});

Deno.test("generate() ends before the first stop string and shows nothing of it", async () => {
  const pieces: string[] = [];
  const answer = await generate(
    new Reciter("abcdef"),
    [7],
    decoder(),
    { ...options, stop: ["cde", "xyz"] },
    (piece) => void pieces.push(piece),
  );
  assertEquals([answer.text, answer.finishReason, answer.ids.length], ["ab", "stop", 5]);
  assertEquals(pieces, ["a", "b"]);
  const unfinished = await generate(new Reciter("abcd"), [7], decoder(), {
    ...options,
    stop: ["cde"],
  });
  assertEquals(unfinished.text, "abcd");
});

Deno.test("generate() ends where the signal says so, with the text so far", async () => {
  const stop = new AbortController();
  const answer = await generate(
    new Reciter("abcdef"),
    [7],
    decoder(),
    { ...options, signal: stop.signal },
    (piece) => {
      if (piece === "b") stop.abort();
    },
  );
  assertEquals([answer.text, answer.finishReason], ["ab", "abort"]);
});

Deno.test("generate() refuses sampling options out of range", async () => {
  await assertRejects(
    () => generate(new Reciter("a"), [7], decoder(), { ...options, topP: 2 }),
    UsageError,
    "top-p must be in (0, 1]: current value is 2",
  );
});

/** One letter, one token; chats are written one after the other. */
const text = {
  info: { vocabSize: LETTERS.length, specialTokens: {}, digest: "" },
  hasTemplate: true,
  encode: (texts: readonly string[]) =>
    Promise.resolve(texts.map((text) => [...text].map((letter) => LETTERS.indexOf(letter)))),
  decode: (all: readonly (readonly number[])[]) =>
    Promise.resolve(all.map((ids) => ids.map((id) => LETTERS[id]).join(""))),
  render: (messages: readonly Message[]) =>
    Promise.resolve(messages.map((m) => m.content).join("")),
} as unknown as TextProcessor;

const generator = (contextSize?: number) =>
  new TextGenerator(new SerialSessions(new Reciter("abcdef")), text, {
    endIds: new Set([END]),
    contextSize,
  });

Deno.test("TextGenerator ends an answer where the context is full", async () => {
  const answer = await generator(6).complete("gh");
  assertEquals([answer.text, answer.finishReason, answer.promptTokens], ["abcd", "length", 2]);
  const chat = await generator(6).chat([{ role: "user", content: "gh" }], { maxTokens: 3 });
  assertEquals(chat.text, "abc");
});

Deno.test("TextGenerator names the context that a prompt does not fit in", async () => {
  const error = await assertRejects(() => generator(4).complete("abcd"), UsageError);
  assert(error.message.includes("fewer tokens than the context's 4: current value is 4"));
});

Deno.test("TextGenerator refuses an empty prompt, and an endless answer", async () => {
  await assertRejects(() => generator(4).complete(""), UsageError, "has no tokens");
  await assertRejects(() => generator().complete("ab"), Error, "state no context length");
  assertEquals((await generator().complete("ab", { maxTokens: 2 })).text, "ab");
});

Deno.test("TextGenerator tells when it begins to read, and when it has read, after its turn", async () => {
  const shared = generator(64);
  const stages: string[] = [];
  const tell = (name: string) => (stage: string) => void stages.push(`${name} ${stage}`);
  await Promise.all([
    shared.complete("a", { onStage: tell("first") }),
    shared.complete("b", { onStage: tell("second") }),
  ]);
  assertEquals(stages, ["first read", "first generate", "second read", "second generate"]);
});
