/** Where a verb's texts come from: the command line, a pipe, or somebody at a terminal. */
import { BadInputError, UsageError } from "../../errors.ts";
import type { Terminal } from "../terminal/output.ts";

/** What is needed of standard input. */
export interface InputStream {
  readonly readable: AsyncIterable<Uint8Array>;
  isTerminal(): boolean;
}

/**
 * Lines of a stream of UTF-8 bytes, without their ends.
 *
 * @throws {BadInputError} where the bytes are not UTF-8
 */
export async function* readLines(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  for await (const chunk of bytes) {
    rest += decode(decoder, chunk);
    const parts = rest.split(/\r?\n/);
    rest = parts.pop()!;
    yield* parts;
  }
  rest += decode(decoder);
  if (rest !== "") yield rest;
}

function decode(decoder: TextDecoder, chunk?: Uint8Array): string {
  try {
    return decoder.decode(chunk, { stream: chunk !== undefined });
  } catch (cause) {
    throw new BadInputError("Standard input is not UTF-8", { cause });
  }
}

/** All of a stream as one text, without the line end that ends it. */
async function readAll(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  for await (const chunk of bytes) text += decode(decoder, chunk);
  return (text + decode(decoder)).replace(/\r?\n$/, "");
}

/** Lines typed at a terminal, each asked for with `>>> `. */
export async function* askLines(
  bytes: AsyncIterable<Uint8Array>,
  terminal: Terminal,
): AsyncGenerator<string> {
  terminal.status(">>> ");
  for await (const line of readLines(bytes)) {
    yield line;
    terminal.status(">>> ");
  }
  terminal.note("");
}

/** @throws {UsageError} for a text without a letter in it */
function checkNotEmpty(text: string): string {
  if (text.trim() !== "") return text;
  throw new UsageError(
    "The text is empty: give one after the model, with --prompt, or on standard input",
  );
}

/**
 * The texts to work on, one after the other; empty lines are passed over, and told at the end.
 *
 * @param given the command line's text, which wins over standard input
 * @param whole whether standard input is one text, where it is no terminal
 * @throws {UsageError} where there is no text at all
 */
export async function* inputTexts(
  given: string | undefined,
  stream: InputStream,
  whole: boolean,
  terminal: Terminal,
): AsyncGenerator<string> {
  if (given !== undefined) return yield checkNotEmpty(given);
  if (!stream.isTerminal() && whole) return yield checkNotEmpty(await readAll(stream.readable));
  const lines = stream.isTerminal()
    ? askLines(stream.readable, terminal)
    : readLines(stream.readable);
  let [count, read]: [number, number] = [0, 0];
  const empty: number[] = [];
  for await (const line of lines) {
    read++;
    if (line.trim() === "") {
      empty.push(read);
      continue;
    }
    count++;
    yield line;
  }
  if (stream.isTerminal()) return;
  if (count === 0) checkNotEmpty("");
  if (empty.length > 0) {
    terminal.note(`Empty lines of standard input have no answer: ${listed(empty)}`);
  }
}

/** The first few of some line numbers. */
function listed(lines: readonly number[]): string {
  const shown = lines.slice(0, 5).join(", ");
  return lines.length > 5 ? `${shown} and ${lines.length - 5} more` : shown;
}
