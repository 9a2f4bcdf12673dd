import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Dataset, GuardedText, LocalText, type Message, prepareRows } from "../../src/data/mod.ts";
import { BadInputError, EXIT, UsageError } from "../../src/errors.ts";
import { memorySource } from "../helpers/memory_source.ts";
import { baseFiles, miniFiles, tinyFiles, tinyWith } from "../helpers/text_files.ts";

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

const TOO_LONG = "text work did not end within 1.5 s or its memory";
const HOSTILE = {
  "pattern": TOO_LONG,
  "growth": TOO_LONG,
  "template": TOO_LONG,
  "memory": TOO_LONG,
};

for (const [hostile, message] of Object.entries(HOSTILE)) {
  Deno.test(`A hostile ${hostile} ends in a typed error in time and in bounded memory`, async () => {
    const began = performance.now();
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "tests/helpers/guarded_child.ts", hostile],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const peak = watchPeak(child.pid);
    const { code, stdout } = await child.output();
    const seconds = (performance.now() - began) / 1000;
    const printed = new TextDecoder().decode(stdout);
    assertStringIncludes(printed, "BadInputError");
    assertStringIncludes(printed, message);
    assertEquals(code, EXIT.badInput);
    // Two seconds for the answer, and what a busy machine takes to start Deno.
    assert(seconds < 12, `took ${seconds} s`);
    assert(await peak < 600e6, `peaked at ${await peak} bytes`);
  });
}

/** Largest resident size that a process had before it ended, in bytes. */
async function watchPeak(pid: number): Promise<number> {
  let peak = 0;
  while (true) {
    try {
      const status = await Deno.readTextFile(`/proc/${pid}/status`);
      const high = /VmHWM:\s+(\d+) kB/.exec(status);
      if (high === null) return peak;
      peak = Math.max(peak, Number(high[1]) * 1024);
    } catch {
      return peak;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
