import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { parseArguments } from "../../src/cli/args.ts";
import { resolveValues } from "../../src/cli/config.ts";
import { evaluationLabels } from "../../src/tasks/evaluation_data.ts";
import { type InputStream, inputTexts, readLines } from "../../src/cli/run/input_text.ts";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import { topClasses } from "../../src/serve/top_classes.ts";
import { RUN_FLAGS, type RunFlags } from "../../src/cli/run/run_flags.ts";
import { answerSettings } from "../../src/cli/run/run_text.ts";
import { BadInputError, UsageError } from "../../src/errors.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

async function* chunks(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

const silent = { status: () => {}, note: () => {} } as unknown as Terminal;

function pipe(text: string): InputStream {
  return { readable: chunks(bytes(text)), isTerminal: () => false };
}

Deno.test("readLines() joins lines and characters that arrive in pieces", async () => {
  const euro = bytes("€");
  const lines = readLines(chunks(bytes("a\r"), bytes("\nb"), euro.slice(0, 1), euro.slice(1)));
  assertEquals(await Array.fromAsync(lines), ["a", "b€"]);
  assertEquals(await Array.fromAsync(readLines(chunks(bytes("a\n\nb\n")))), ["a", "", "b"]);
});

Deno.test("readLines() refuses bytes that are no text", async () => {
  const cut = bytes("€").slice(0, 2);
  for (const wrong of [Uint8Array.of(0xff), cut]) {
    await assertRejects(() => Array.fromAsync(readLines(chunks(wrong))), BadInputError, "UTF-8");
  }
});

Deno.test("inputTexts() prefers the command line, then takes a pipe whole or by lines", async () => {
  const texts = (given: string | undefined, input: string, whole: boolean) =>
    Array.fromAsync(inputTexts(given, pipe(input), whole, silent));
  assertEquals(await texts("a", "b", true), ["a"]);
  assertEquals(await texts(undefined, "a\nb\n", true), ["a\nb"]);
  assertEquals(await texts(undefined, "a\n \nb\n", false), ["a", "b"]);
  const notes: string[] = [];
  const noting = { ...silent, note: (line: string) => void notes.push(line) };
  await Array.fromAsync(inputTexts(undefined, pipe("a\n\nb\n \n"), false, noting));
  assertEquals(notes, ["Empty lines of standard input have no answer: 2, 4"]);
  for (const whole of [true, false]) {
    await assertRejects(() => texts(undefined, "\n", whole), UsageError, "The text is empty");
  }
});

Deno.test("topClasses() sorts by probability and names what has no name as transformers does", () => {
  const probabilities = Float32Array.of(0.25, 0.5, 0.25);
  assertEquals(topClasses(probabilities, ["a", "b", "c"], 2), [
    { label: "b", probability: 0.5 },
    { label: "a", probability: 0.25 },
  ]);
  assertEquals(topClasses(probabilities, undefined, 1)[0].label, "LABEL_1");
  // As many digits as a float32 has, not those of a float64.
  assertEquals(topClasses(Float32Array.of(0.1), undefined, 1)[0].probability, 0.1);
});

Deno.test("evaluationLabels() takes numbers for ids and a full set of names in order", () => {
  assertEquals(evaluationLabels(new Set(["2", "0"]), 3, "rows.csv"), ["0", "1", "2"]);
  assertEquals(evaluationLabels(new Set(["b", "a", "c"]), 3, "rows.csv"), ["a", "b", "c"]);
  for (const found of [["b", "a"], ["0", "3"], ["a", "b", "c", "d"]]) {
    assertThrows(
      () => evaluationLabels(new Set(found), 3, "rows.csv"),
      UsageError,
      `the model has 3 and names none, the data has ${found.length}`,
    );
  }
});

function flags(...argv: string[]): RunFlags {
  return resolveValues(RUN_FLAGS, parseArguments(argv, RUN_FLAGS).values, {})
    .values as unknown as RunFlags;
}

Deno.test("answerSettings() is greedy by default and takes llama.cpp's and OpenAI's names", () => {
  const settings = answerSettings(flags("--seed", "3"), true);
  assertEquals([settings.temperature, settings.maxTokens, settings.chat, settings.seed], [
    0,
    512,
    true,
    3,
  ]);
  const long = ["--temperature", "0.5", "--max-tokens", "9", "--repetition-penalty", "1.1"];
  const short = ["--temp", "0.5", "-n", "9", "--repeat-penalty", "1.1"];
  const seed = ["--seed", "3"];
  assertEquals(
    answerSettings(flags(...long, ...seed), true),
    answerSettings(flags(...short, ...seed), true),
  );
  assertEquals(answerSettings(flags("-n", "-1"), true).maxTokens, undefined);
});

Deno.test("answerSettings() keeps stop texts as they are given", () => {
  const { stop } = answerSettings(flags("--stop", "a, b", "--stop", "\n"), true);
  assertEquals(stop, ["a, b", "\n"]);
});

Deno.test("answerSettings() refuses a system message where there is no chat", () => {
  const withSystem = flags("--system", "be kind");
  assertThrows(() => answerSettings(withSystem, false), UsageError, "this one has none");
  assertEquals(answerSettings(flags(), false).chat, false);
  assertThrows(
    () => answerSettings(flags("--top-p", "2"), true),
    UsageError,
    "top-p must be in (0, 1]: current value is 2",
  );
});
