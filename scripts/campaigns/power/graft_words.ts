/** The command line of `graft` from this checkout. */
import { fromFileUrl } from "@std/path";

const MAIN = fromFileUrl(new URL("../../../src/cli/main.ts", import.meta.url));

/** Program and arguments that run a verb. */
export function graftWords(...args: readonly string[]): string[] {
  return [Deno.execPath(), "run", "-A", "--no-check", MAIN, ...args];
}

/** Program and arguments that run commands one after the other, until one fails. */
export function inTurn(...commands: readonly (readonly string[])[]): string[] {
  const lines = commands.map((words) =>
    words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ")
  );
  return ["sh", "-c", lines.join(" && ")];
}
