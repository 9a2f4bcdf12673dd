/** Finds the verb of a command line. */
import { suggestion } from "../config/nearest.ts";
import { UsageError } from "../errors.ts";
import type { Command, Verbs } from "./command.ts";
import { VERBS } from "./verbs.ts";

/**
 * The command that the first words name, and the words after them.
 *
 * @throws {UsageError} for an unknown verb, with the nearest spelling
 */
export async function findVerb(
  words: readonly string[],
): Promise<{ readonly command: Command; readonly rest: readonly string[] }> {
  const [first, second] = words;
  const command = await findCommand(first);
  if (command.verbs === undefined || second === undefined || second.startsWith("-")) {
    return { command, rest: words.slice(1) };
  }
  return { command: await findCommand(second, command.verbs, `${first} `), rest: words.slice(2) };
}

async function findCommand(name: string, verbs: Verbs = VERBS, before = ""): Promise<Command> {
  const load = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (load === undefined) {
    const meant = suggestion(name, Object.keys(verbs), before);
    throw new UsageError(
      `Unknown verb "${before}${name}"${meant || `: \`graft ${before}--help\` lists them`}`,
    );
  }
  return (await load()).default;
}
