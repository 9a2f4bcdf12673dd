import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { Dataset, GuardedText, LocalText, type Message, prepareRows } from "../../src/data/mod.ts";
import { ChildEndedError, TextChild } from "../../src/data/guard_child.ts";
import { SETUP } from "../../src/data/guard_protocol.ts";
import { BadInputError, EXIT, UsageError } from "../../src/errors.ts";
import { processMemory } from "../../src/system/memory.ts";
import { computedMs } from "../../src/system/process_work.ts";
import { childrenOf } from "../helpers/children.ts";
import { memorySource } from "../helpers/memory_source.ts";
import {
  baseFiles,
  DOUBLING_TEMPLATE,
  miniFiles,
  tinyFiles,
  tinyWith,
} from "../helpers/text_files.ts";

const CHAT: Message[] = [{ role: "user", content: "Hi 🚀" }];

Deno.test("GuardedText gives what LocalText gives", async () => {
  using guarded = await GuardedText.start(tinyFiles());
  const local = new LocalText(tinyFiles());
  assertEquals(guarded.info, local.info);
  assertEquals(guarded.hasTemplate, true);
  const ids = await guarded.encode(["one", "zwei ü"]);
  assertEquals(ids, await local.encode(["one", "zwei ü"]));
  assertEquals(await guarded.decode(ids), ["one", "zwei ü"]);
  const options = { addGenerationPrompt: true };
  assertEquals(await guarded.render(CHAT, options), await local.render(CHAT, options));
  const pairs = `{"prompt":"a","completion":"b"}\n{"prompt":"c","completion":"d"}`;
  const data = await Dataset.open(memorySource("d.jsonl", pairs));
  const [there, here] = [
    await prepareRows(data, guarded, { maxLength: 64 }),
    await prepareRows(data, local, { maxLength: 64 }),
  ];
  assertEquals(await there.rows.row(1), await here.rows.row(1));
  assertEquals(JSON.stringify(there.report), JSON.stringify(here.report));
});

Deno.test("GuardedText keeps the class of errors and goes on after them", async () => {
  using text = await GuardedText.start(baseFiles());
  await assertRejects(() => text.decode([[9999]]), BadInputError, "current value is 9999");
  await assertRejects(() => text.render(CHAT), UsageError, "no chat template");
  assertEquals(await text.decode([[5]]), await new LocalText(baseFiles()).decode([[5]]));
});

Deno.test("GuardedText.start() refuses files that are no tokenizer", async () => {
  await assertRejects(
    () => GuardedText.start(tinyWith({ model: undefined })),
    BadInputError,
    `"model" must be an object`,
  );
});

Deno.test("GuardedText rejects calls after it was closed", async () => {
  const text = await GuardedText.start(miniFiles());
  text[Symbol.dispose]();
  await assertRejects(() => text.encode(["a"]), Error, "closed");
});

const SPLIT_ON = (pattern: string) =>
  tinyWith({
    pre_tokenizer: {
      type: "Split",
      pattern: { Regex: pattern },
      behavior: "Isolated",
      invert: false,
    },
  });
/** Takes years for {@linkcode SLOW}, and no time for other texts. */
const EXPLODING = SPLIT_ON("(a+)+$");
const SLOW = "a".repeat(60) + "b";
const FAST = { deadlineMs: 300 };

Deno.test("GuardedText refuses the one text that takes too long, and ends what it began", async () => {
  using text = await GuardedText.start(EXPLODING, FAST);
  const [before] = childrenOf(Deno.pid);
  const [slow, fast] = await Promise.allSettled([text.encode([SLOW]), text.encode(["one"])]);
  assertEquals(slow.status, "rejected");
  assertInstanceOf((slow as PromiseRejectedResult).reason, BadInputError);
  assertEquals(fast, {
    status: "fulfilled",
    value: await new LocalText(EXPLODING).encode(["one"]),
  });
  assert(!childrenOf(Deno.pid).includes(before), "the process that did not end is still there");
});

Deno.test("GuardedText.encodeRows() names the row that takes too long", async () => {
  using text = await GuardedText.start({ ...EXPLODING, chatTemplate: undefined }, FAST);
  const rows = ["one", "two", SLOW, "three"].map((text, index) => ({
    index,
    place: `d.jsonl:${index + 1}`,
    row: { kind: "text", text } as const,
  }));
  const error = await assertRejects(
    () => text.encodeRows(rows, { maxLength: 64 }),
    BadInputError,
    "did not end within 0.3 s",
  );
  assertStringIncludes(error.message, "d.jsonl:3: tiny-llama:");
});

Deno.test("GuardedText refuses a text that is too long by its place and size, at once", async () => {
  using text = await GuardedText.start(tinyFiles());
  const row = { kind: "text", text: "word ".repeat(1e6) } as const;
  const began = performance.now();
  await assertRejects(
    () => text.encodeRows([{ index: 0, place: "d.jsonl:7", row }], { maxLength: 64 }),
    BadInputError,
    "d.jsonl:7: the text has 5000000 characters, and graft accepts at most 1048576",
  );
  const long = "a".repeat(2 ** 20 + 1);
  await assertRejects(() => text.encode([long]), BadInputError, "1048577");
  const chat: Message[] = [{ role: "user", content: long }];
  await assertRejects(() => text.render(chat), BadInputError, "and graft accepts at most 1048576");
  assert(performance.now() - began < 1000);
});

Deno.test("GuardedText says at once that a text needs too much memory, and encodes the next", async () => {
  const double = { type: "Replace", pattern: { Regex: "%" }, content: "%%" };
  const doubling = { type: "Sequence", normalizers: new Array(40).fill(double) };
  using text = await GuardedText.start(tinyWith({ normalizer: doubling }), { deadlineMs: 60_000 });
  const began = performance.now();
  await assertRejects(() => text.encode(["100%"]), BadInputError, "MB of memory");
  assert(performance.now() - began < 20_000, "it was waited for");
  assertEquals((await text.encode(["one"])).length, 1);
});

Deno.test("GuardedText encodes the longest text that it takes", async () => {
  using text = await GuardedText.start(baseFiles());
  const longest = "The quick brown fox jumps over it. ".repeat(2 ** 20 / 35);
  const [ids] = await text.encode([longest]);
  assert(ids.length > 2 ** 17, `${ids.length} ids`);
});

Deno.test("GuardedText says at once that its process was ended, and starts another", async () => {
  using text = await GuardedText.start(EXPLODING);
  const slow = assertRejects(() => text.encode([SLOW]), BadInputError);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const began = performance.now();
  for (const pid of childrenOf(Deno.pid)) Deno.kill(pid, "SIGKILL");
  await slow;
  assert(performance.now() - began < 1000, "the end was not noticed");
  assertEquals((await text.encode(["one"])).length, 1);
});

Deno.test("a text process ends with its parent, even inside an expression", async () => {
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "tests/helpers/guarded_child.ts", "pattern"],
    env: { GRAFT_TEXT_DEADLINE_MS: "600000" },
    stdout: "null",
    stderr: "null",
  }).spawn();
  const child = await until(() => childrenOf(parent.pid)[0]);
  await until(() => (computedMs(child) ?? 0) > 1500 || undefined);
  parent.kill("SIGKILL");
  await parent.status;
  await until(() => computedMs(child) === undefined || undefined);
});

Deno.test("TextChild ends by itself once its heap is full, though nobody watches it", async () => {
  using child = await TextChild.start(64);
  await child.ask({ method: SETUP, args: [tinyFiles(DOUBLING_TEMPLATE)] });
  let most = 0;
  const look = setInterval(() => most = Math.max(most, child.use()?.memoryBytes ?? 0), 10);
  try {
    const rendering = child.ask({ method: "render", args: [CHAT, { addGenerationPrompt: true }] });
    await assertRejects(() => rendering, ChildEndedError, "ended");
  } finally {
    clearInterval(look);
  }
  assert(most < 400e6, `it had ${most} bytes`);
});

const NO_END = "text work did not end within 0.5 s";
const TOO_LARGE = "of memory";
const HOSTILE = {
  "pattern": [NO_END],
  "growth": [NO_END, TOO_LARGE],
  // Its tokenizer has 70 KB, for which the deadline is longer.
  "multiplied": ["text work did not end within 0.6 s", TOO_LARGE],
  "endless pieces": [NO_END, TOO_LARGE],
  "template": [NO_END],
  "memory": [NO_END, TOO_LARGE],
};

for (const [hostile, messages] of Object.entries(HOSTILE)) {
  Deno.test(`A hostile ${hostile} ends in a typed error in time and in bounded memory`, async () => {
    const began = performance.now();
    const parent = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "tests/helpers/guarded_child.ts", hostile],
      env: { GRAFT_TEXT_DEADLINE_MS: "500" },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const peak = watchPeak(parent.pid);
    const { code, stdout } = await parent.output();
    const seconds = (performance.now() - began) / 1000;
    const printed = new TextDecoder().decode(stdout);
    assertStringIncludes(printed, "BadInputError");
    assert(messages.some((message) => printed.includes(message)), printed);
    assertEquals(code, EXIT.badInput);
    // Half a second of computing, which takes a busy machine a while.
    assert(seconds < 30, `took ${seconds} s`);
    assert(await peak < 600e6, `peaked at ${await peak} bytes`);
  });
}

/** Largest resident size of a process and its children before it ended, in bytes. */
async function watchPeak(pid: number): Promise<number> {
  let peak = 0;
  while (true) {
    const memory = processMemory(pid);
    if (memory === undefined || memory.rssBytes === 0) return peak;
    const children = childrenOf(pid).map((child) => processMemory(child)?.rssBytes ?? 0);
    peak = Math.max(peak, children.reduce((sum, bytes) => sum + bytes, memory.rssBytes));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What `look` gives, once it gives something. */
async function until<T>(look: () => T | undefined): Promise<T> {
  while (true) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
