import { assert, assertEquals, assertRejects } from "@std/assert";
import type { RowReader } from "../../src/serve/batch_reader.ts";
import { BatchedSessions } from "../../src/serve/batched_sessions.ts";
import type { FreshTokens } from "../../src/serve/fed_inputs.ts";
import type { TokenSession } from "../../src/serve/token_sessions.ts";
import { Random } from "../../src/random.ts";

/** Keeps the tokens of each row, and answers with a number that depends on all of a text. */
class RowNotes implements RowReader {
  readonly texts: number[][];
  readonly reads: { first: number; counts: number[] }[] = [];
  copied = 0;
  capacity = 0;
  failing = false;

  constructor(readonly rows: number, readonly longest = Infinity) {
    this.texts = Array.from({ length: rows }, () => []);
  }

  reserve(total: number): void {
    this.capacity = Math.max(this.capacity, total);
  }

  copy(from: number, to: number, tokens: number): void {
    assert(this.texts[from].length >= tokens);
    this.texts[to] = this.texts[from].slice(0, tokens);
    this.copied += tokens;
  }

  async read(first: number, texts: readonly FreshTokens[]): Promise<Float32Array[]> {
    const counts = texts.map(({ fresh }) => fresh.length);
    assertEquals(new Set(counts).size, 1);
    this.reads.push({ first, counts });
    const values = texts.map(({ fresh, start }, i) => {
      const text = this.texts[first + i];
      assert(text.length >= start && start + fresh.length <= this.longest);
      text.length = start;
      text.push(...fresh);
      assert(text.length <= this.capacity);
      return Float32Array.of(valueOf(text));
    });
    await Promise.resolve();
    if (this.failing) throw new Error("the run failed");
    return values;
  }

  get tokens(): number {
    return this.reads.reduce((sum, { counts }) => sum + counts.length * counts[0], 0);
  }

  [Symbol.dispose](): void {}
}

const valueOf = (text: readonly number[]) => text.reduce((hash, id) => (hash * 31 + id) % 65521, 7);

async function check(
  session: TokenSession,
  prompt: readonly number[],
  more: number,
): Promise<void> {
  const text = [...prompt];
  let [value] = await session.continueTo(prompt);
  assertEquals(value, valueOf(text));
  for (let i = 0; i < more; i++) {
    text.push(i);
    [value] = await session.advance([i]);
    assertEquals(value, valueOf(text));
  }
}

Deno.test("BatchedSessions give each of many requests its own text, whatever comes and goes beside it", async () => {
  for (const rows of [1, 2, 3, 8]) {
    const reader = new RowNotes(rows, 700);
    const sessions = new BatchedSessions(reader);
    const random = Random.fromSeed(rows);
    const below = (most: number) => random.next() % most;
    const request = async () => {
      for (let wait = below(20); wait > 0; wait--) await new Promise((done) => setTimeout(done, 0));
      const leave = new AbortController();
      using session = sessions.open(leave.signal);
      const beginning = Array.from({ length: 60 * below(3) }, (_, i) => i + 100);
      const prompt = [...beginning, ...Array.from({ length: 1 + below(500) }, () => below(50))];
      if (below(5) === 0) setTimeout(() => leave.abort(new Error("left")), below(10));
      await check(session, prompt, below(30)).catch((error) => assertEquals(error.message, "left"));
    };
    await Promise.all(Array.from({ length: 60 }, request));
    assert(reader.reads.every(({ first, counts }) => first + counts.length <= rows));
    if (rows > 1) assert(reader.reads.some(({ counts }) => counts.length > 1));
  }
});

Deno.test("BatchedSessions read a common beginning once, and go on where a row's last text left off", async () => {
  const reader = new RowNotes(2);
  const sessions = new BatchedSessions(reader);
  const beginning = Array.from({ length: 100 }, (_, i) => i);
  using first = sessions.open();
  await check(first, [...beginning, 7], 0);
  {
    using second = sessions.open();
    await check(second, [...beginning, 8, 9], 1);
    assertEquals([reader.tokens, reader.copied], [101 + 3, 100]);
  }
  // Its text is still in the free row.
  using third = sessions.open();
  await check(third, [...beginning, 8, 9, 0, 4], 0);
  assertEquals([reader.tokens, reader.copied], [105, 100]);
});

Deno.test("BatchedSessions read a long prompt in pieces between the tokens of others", async () => {
  const reader = new RowNotes(2);
  const sessions = new BatchedSessions(reader);
  using talking = sessions.open();
  await check(talking, [1, 2], 0);
  using reading = sessions.open();
  const prompt = Array.from({ length: 600 }, (_, i) => i % 60);
  await Promise.all([
    check(reading, prompt, 0),
    talking.advance([1]).then(async () => {
      for (let i = 0; i < 9; i++) await talking.advance([i]);
    }),
  ]);
  const longest = Math.max(...reader.reads.map(({ counts }) => counts[0]));
  assertEquals(longest, 128);
});

Deno.test("BatchedSessions tell those whose run failed, and go on with others from the beginning", async () => {
  const reader = new RowNotes(2);
  const sessions = new BatchedSessions(reader);
  const prompt = Array.from({ length: 50 }, (_, i) => i);
  using session = sessions.open();
  await check(session, prompt, 2);
  reader.failing = true;
  await assertRejects(() => session.advance([3]), Error, "the run failed");
  reader.failing = false;
  const before = reader.tokens;
  using next = sessions.open();
  await check(next, prompt, 2);
  assertEquals([reader.tokens - before, reader.copied], [52, 0]);
});

Deno.test("BatchedSessions tells once that a session has its turn, and not while it waits", async () => {
  const sessions = new BatchedSessions(new RowNotes(1));
  const turns: string[] = [];
  const first = sessions.open(undefined, undefined, () => turns.push("first"));
  await first.continueTo([1, 2, 3]);
  const second = sessions.open(undefined, undefined, () => turns.push("second"));
  const reading = second.continueTo([4, 5]);
  await first.advance([4]);
  await first.advance([5]);
  assertEquals(turns, ["first"]);
  first[Symbol.dispose]();
  await reading;
  await second.advance([6]);
  assertEquals(turns, ["first", "second"]);
  second[Symbol.dispose]();
});
