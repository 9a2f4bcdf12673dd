import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import { type AnswerSettings, chat } from "../../src/cli/run/run_text.ts";
import type { Message } from "../../src/data/mod.ts";
import { InferenceModel } from "../../src/tasks/inference_model.ts";
import { modelDir } from "../helpers/fixture_models.ts";

function recorder(): Terminal & { out: string; notes: string } {
  const record = {
    out: "",
    notes: "",
    write: (text: string) => void (record.out += text),
    print: (line: string) => void (record.out += line + "\n"),
    note: (line: string) => void (record.notes += line + "\n"),
    status: () => {},
    interactive: false,
    color: false,
    columns: 80,
  };
  return record;
}

async function* typed(...lines: string[]): AsyncGenerator<string> {
  yield* lines;
}

const SETTINGS: AnswerSettings = { temperature: 0, maxTokens: 8, seed: 0, chat: true };

async function withGenerator(
  ctxSize: number,
  body: (generator: InferenceModel) => Promise<void>,
): Promise<void> {
  using model = await InferenceModel.open({
    model: modelDir("tiny-llama-genai-fp32"),
    ctxSize,
    threads: 1,
  });
  await body(model);
}

Deno.test("chat() answers each line as the whole chat would be answered anew", () =>
  withGenerator(256, async (generator) => {
    const terminal = recorder();
    assertEquals(
      await chat(generator, typed("my card", "", "it is lost", "/bye", "x"), SETTINGS, terminal),
      0,
    );
    const first: Message = { role: "user", content: "my card" };
    const one = await generator.chat([first], SETTINGS);
    const two = await generator.chat([
      first,
      { role: "assistant", content: one.text },
      { role: "user", content: "it is lost" },
    ], SETTINGS);
    const line = (text: string) => text.endsWith("\n") ? text : text + "\n";
    assertEquals(terminal.out, line(one.text) + line(two.text));
    assert(two.promptTokens > one.promptTokens + one.ids.length);
  }));

Deno.test("chat() forgets at /clear, but not the system message", () =>
  withGenerator(256, async (generator) => {
    const settings = { ...SETTINGS, system: "be brief" };
    const [again, once] = [recorder(), recorder()];
    await chat(generator, typed("my card", "/clear", "hello"), settings, again);
    await chat(generator, typed("hello"), settings, once);
    assert(again.out.endsWith(once.out));
    const plain = recorder();
    await chat(generator, typed("hello"), SETTINGS, plain);
    assert(plain.out !== once.out);
  }));

Deno.test("chat() goes on after a line that does not fit the context", () =>
  withGenerator(60, async (generator) => {
    const terminal = recorder();
    await chat(generator, typed("card ".repeat(60), "hello"), SETTINGS, terminal);
    assertStringIncludes(terminal.notes, "leaves no room for an answer");
    assertStringIncludes(terminal.notes, "/clear begins a new chat");
    const once = recorder();
    await chat(generator, typed("hello"), SETTINGS, once);
    assertEquals(terminal.out, once.out);
  }));

Deno.test("chat() interrupted in an answer keeps what was said and goes on", () =>
  withGenerator(256, async (generator) => {
    const settings = { ...SETTINGS, maxTokens: undefined };
    const whole = await generator.chat([{ role: "user", content: "hello" }], settings);
    const terminal = recorder();
    const write = terminal.write;
    let pieces = 0;
    terminal.write = (text) => {
      write(text);
      if (++pieces === 3) Deno.kill(Deno.pid, "SIGTERM"); // the test runner has SIGINT
    };
    let cut = "";
    const lines = async function* () {
      yield "hello";
      cut = terminal.out.slice(0, -1);
      yield "/clear";
      yield "hello";
    };
    assertEquals(await chat(generator, lines(), settings, terminal), 0);
    assert(whole.text.startsWith(cut), `${cut} / ${whole.text}`);
    assert(cut.length > 0 && cut.length < whole.text.length / 2, `${cut} / ${whole.text}`);
    assertEquals(terminal.out.slice(cut.length + 1), `${whole.text}\n`);
  }));
