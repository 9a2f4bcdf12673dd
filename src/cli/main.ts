/** The `graft` program: finds the verb, reads its flags, runs it, ends with its exit code. */
import { VERSION } from "../version.ts";
import { EXIT, UsageError } from "../errors.ts";
import { parseArguments } from "./args.ts";
import type { Command } from "./command.ts";
import { parseConfig, resolveValues } from "./config.ts";
import { exitCodeOf, formatError } from "./exit.ts";
import { commandHelp, generalHelp } from "./help.ts";
import { suggestion } from "./nearest.ts";
import { processTerminal, type Terminal } from "./output.ts";
import { readTextFile } from "./read.ts";
import { VERBS } from "./verbs.ts";

async function findCommand(name: string): Promise<Command> {
  const load = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (load === undefined) {
    throw new UsageError(
      `Unknown verb "${name}"${suggestion(name, Object.keys(VERBS))}; \`graft --help\` lists them`,
    );
  }
  return (await load()).default;
}

async function runVerb(name: string, argv: readonly string[], terminal: Terminal): Promise<number> {
  const command = await findCommand(name);
  const parsed = parseArguments(argv, command.flags);
  if (parsed.help) {
    terminal.print(commandHelp(command));
    return EXIT.ok;
  }
  const most = command.maxOperands ?? 0;
  if (parsed.operands.length > most) {
    throw new UsageError(
      `graft ${name} takes ${most === 0 ? "no" : `at most ${most}`} arguments besides flags: ` +
        `current value is "${parsed.operands.join(" ")}"`,
    );
  }
  // A verb that takes a configuration file declares the flag `config` for it.
  const path = command.flags.config === undefined ? undefined : parsed.values.config as string;
  const fromFile = path === undefined ? {} : parseConfig(readTextFile(path), command.flags, path);
  const { values, given } = resolveValues(command.flags, parsed.values, fromFile);
  return await command.run({ flags: values, given, operands: parsed.operands, terminal });
}

async function dispatch(argv: readonly string[], terminal: Terminal): Promise<number> {
  const [verb, ...rest] = argv;
  if (verb === "--version" || verb === "-V") {
    terminal.print(`graft ${VERSION}`);
    return EXIT.ok;
  }
  if (verb === "help" && rest.length > 0) {
    terminal.print(commandHelp(await findCommand(rest[0])));
    return EXIT.ok;
  }
  if (verb === undefined || verb === "help" || verb === "--help" || verb === "-h") {
    const loaded = await Promise.all(Object.values(VERBS).map((load) => load()));
    terminal.print(generalHelp(loaded.map((module) => module.default), VERSION));
    return verb === undefined ? EXIT.usage : EXIT.ok;
  }
  if (verb.startsWith("-")) {
    throw new UsageError(
      `The verb comes first: "${verb}" is a flag; \`graft --help\` lists the verbs`,
    );
  }
  return await runVerb(verb, rest, terminal);
}

/**
 * Runs a command line.
 *
 * @returns the exit code; errors are printed, not thrown
 */
export async function main(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await dispatch(argv, terminal);
  } catch (error) {
    const debug = Deno.env.get("GRAFT_DEBUG") !== undefined;
    terminal.note(formatError(error, debug));
    return exitCodeOf(error);
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args, processTerminal()));
