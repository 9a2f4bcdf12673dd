import { assertEquals } from "@std/assert";
import { processTerminal } from "../../src/cli/terminal/output.ts";
import { printable } from "../../src/cli/terminal/printable.ts";

Deno.test("printable() escapes what moves cursors, sets titles or turns the direction of text", () => {
  assertEquals(
    printable("a\x1b[2Jb\x07\r\0\x7f\x9b1m"),
    "a\\u001b[2Jb\\u0007\\u000d\\u0000\\u007f\\u009b1m",
  );
  assertEquals(printable("a\u202eb\u2066"), "a\\u202eb\\u2066");
});

Deno.test("printable() leaves lines, tabs and every script as they are", () => {
  const text = "é 漢字 \u{1f469}\u200d\u{1f680} مرحبا\n\tnext";
  assertEquals(printable(text), text);
});

Deno.test("printable() leaves JSON the same JSON", () => {
  const value = { name: "a\x1b\x9b\u202e\n" };
  assertEquals(JSON.parse(printable(JSON.stringify(value, null, 2))), value);
});

Deno.test("printable() leaves graft's own styles where there may be some, and no others", () => {
  assertEquals(
    printable("\x1b[31mred\x1b[0m \x1b[8mhidden", true),
    "\x1b[31mred\x1b[0m \\u001b[8mhidden",
  );
  assertEquals(printable("\x1b[31mred"), "\\u001b[31mred");
});

/** What a function writes to a stream of the process that says to be a terminal. */
function written(stream: typeof Deno.stdout | typeof Deno.stderr, action: () => void): string {
  const { isTerminal, writeSync } = stream;
  let text = "";
  stream.isTerminal = () => true;
  stream.writeSync = (bytes) => {
    text += new TextDecoder().decode(bytes);
    return bytes.length;
  };
  try {
    action();
  } finally {
    Object.assign(stream, { isTerminal, writeSync });
  }
  return text;
}

Deno.test("processTerminal() lets no control character of a text through to a terminal", () => {
  const evil = "a\x1b]0;owned\x07\x1b[2J";
  const shown = "a\\u001b]0;owned\\u0007\\u001b[2J";
  assertEquals(written(Deno.stdout, () => processTerminal().write(evil)), shown);
  assertEquals(written(Deno.stdout, () => processTerminal().print(evil)), `${shown}\n`);
  assertEquals(written(Deno.stderr, () => processTerminal().note(evil)), `${shown}\n`);
  assertEquals(written(Deno.stderr, () => processTerminal().status(evil)), `\r\x1b[K${shown}`);
});
