import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { command } from "../../src/cli/command.ts";
import { exitCodeOf, formatError } from "../../src/cli/terminal/exit.ts";
import { boolean, integer, text } from "../../src/cli/flags.ts";
import { commandHelp, exitCodeLines, generalHelp } from "../../src/cli/help.ts";
import { nearest } from "../../src/config/nearest.ts";
import { loadVerbs } from "../../src/cli/verb_tree.ts";
import { BadInputError, EXIT, StorageError } from "../../src/errors.ts";

const GREET = command({
  name: "greet",
  summary: "Say hello",
  operands: "[NAME]",
  flags: {
    style: text("How", { choices: ["warm", "cool"], default: "warm", short: "s" }),
    times: integer("How often", { required: true, min: 1, group: "Amount" }),
    polite: boolean("With a bow", { default: true }),
  },
  examples: [{ command: "graft greet --times 2", does: "greets twice" }],
  run: () => Promise.resolve(0),
});

Deno.test("commandHelp() lists every flag with its default, choices and group, and the examples", () => {
  const help = commandHelp(GREET);
  assertStringIncludes(help, "Usage: graft greet [NAME] [flags]");
  assertStringIncludes(help, "  -s, --style NAME                How [warm, cool; default warm]");
  assertStringIncludes(help, "Amount:\n      --times N                   How often [required]");
  assertStringIncludes(help, "--[no-]polite               With a bow [default on]");
  assertStringIncludes(help, "  # greets twice\n  graft greet --times 2");
  for (const line of help.split("\n")) assert(line.length <= 100, line);
});

Deno.test("help fits into a terminal of 80 columns, but for commands to copy", async () => {
  const verbs = await loadVerbs();
  const helps = [
    generalHelp(verbs.map(({ command }) => command), "1.2.3", 80),
    ...verbs.map(({ command }) => commandHelp(command, 80)),
  ];
  const copied = new Set(
    verbs.flatMap(({ command }) => command.examples.map((example) => `  ${example.command}`)),
  );
  const lines = helps.flatMap((help) => help.split("\n")).filter((line) => !copied.has(line));
  assertEquals(lines.filter((line) => line.length > 80), []);
});

Deno.test("generalHelp() lists the verbs and every exit code", () => {
  const help = generalHelp([GREET], "1.2.3");
  assertStringIncludes(help, "graft 1.2.3");
  assertStringIncludes(help, "  greet  Say hello");
  assertEquals(exitCodeLines(1000).length, Object.keys(EXIT).length);
  for (const code of Object.values(EXIT)) assertStringIncludes(help, `${code}  `);
});

Deno.test("formatError() gives one line for what the user can act on, and its exit code", () => {
  const error = new StorageError("Cannot write x:\n  disk full");
  assertEquals(formatError(error, false), "graft: Cannot write x: disk full");
  assertEquals(exitCodeOf(error), 74);
  assertEquals(exitCodeOf(new BadInputError("")), 65);
});

Deno.test("formatError() says that a bug is one, and shows the stack only on request", () => {
  const bug = new TypeError("x is undefined", { cause: new Error("deeper") });
  assertEquals(
    formatError(bug, false),
    "graft: internal error: x is undefined (GRAFT_DEBUG=1 shows where)",
  );
  const debug = formatError(bug, true);
  assertStringIncludes(debug, "cli_help_test.ts");
  assertStringIncludes(debug, "caused by Error: deeper");
  assertEquals(exitCodeOf(bug), 70);
  assertEquals(formatError("text", false).startsWith("graft: internal error: text"), true);
});

Deno.test("nearest() finds what was meant and nothing far-fetched", () => {
  const verbs = ["train", "merge", "run", "inspect"];
  assertEquals(nearest("trian", verbs), "train");
  assertEquals(nearest("mrege", verbs), "merge");
  assertEquals(nearest("zebra", verbs), undefined);
  assertEquals(nearest("x", []), undefined);
});
