/** The `graft` program: finds the verb, reads its flags, runs it, ends with its exit code. */
import { VERSION } from "../version.ts";
import { TEXT_PROCESS } from "../data/guard_protocol.ts";
import { EXIT, OutputClosedError, UsageError } from "../errors.ts";
import { parseArguments } from "./args.ts";
import type { Need } from "./command.ts";
import { parseConfig } from "../config/file.ts";
import { resolveValues } from "./config.ts";
import { environmentValues } from "./environment.ts";
import { findVerb } from "./find_verb.ts";
import { exitCodeOf, formatError } from "./terminal/exit.ts";
import { commandHelp, generalHelp, HELP_COLUMNS } from "./help.ts";
import { processTerminal, type Terminal } from "./terminal/output.ts";
import { onUncaught } from "./terminal/uncaught.ts";
import { readTextFile } from "../system/small_file.ts";
import { VERBS } from "./verbs.ts";

/** Takes away what a verb does not need. */
type Restrict = (needs: readonly Need[]) => void;

/** Gives back what the verb does not need, for itself and the workers that it starts. */
function dropPermissions(needs: readonly Need[]): void {
  for (const name of ["net", "run"] as const) {
    if (!needs.includes(name)) Deno.permissions.revokeSync({ name });
  }
}

const helpColumns = ({ columns }: Terminal) => Math.min(HELP_COLUMNS, columns);

async function runVerb(
  words: readonly string[],
  terminal: Terminal,
  restrict: Restrict,
): Promise<number> {
  const { command, rest } = await findVerb(words);
  const { name } = command;
  const parsed = parseArguments(rest, command.flags);
  if (parsed.help) {
    terminal.print(commandHelp(command, helpColumns(terminal)));
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
  const path = command.flags.config === undefined
    ? undefined
    : parsed.values.config as string | undefined ?? command.impliedConfig?.(parsed.values);
  const fromFile = path === undefined ? {} : parseConfig(readTextFile(path), command.flags, path);
  const fromEnvironment = command.environment === undefined
    ? {}
    : environmentValues(command.flags, command.environment, (name) => Deno.env.get(name));
  const { values, given } = resolveValues(
    command.flags,
    { ...fromEnvironment, ...parsed.values },
    fromFile,
  );
  restrict(command.needs ?? []);
  return await command.run({ flags: values, given, operands: parsed.operands, terminal });
}

async function dispatch(
  argv: readonly string[],
  terminal: Terminal,
  restrict: Restrict,
): Promise<number> {
  const [verb, ...rest] = argv;
  if (verb === TEXT_PROCESS) {
    const { serveText } = await import("../data/guard_process.ts");
    await serveText();
    return EXIT.ok;
  }
  if (verb === "--version" || verb === "-V") {
    const { versionLines } = await import("./about/version_lines.ts");
    for (const line of versionLines((line) => terminal.note(line))) terminal.print(line);
    return EXIT.ok;
  }
  if (verb === "help" && rest[0] === "--man") {
    const { manPage } = await import("./about/man_page.ts");
    const { loadVerbs } = await import("./verb_tree.ts");
    terminal.write(manPage(await loadVerbs(), VERSION));
    return EXIT.ok;
  }
  if (verb === "help" && rest.length > 0 && rest[0] !== "help") {
    terminal.print(commandHelp((await findVerb(rest)).command, helpColumns(terminal)));
    return EXIT.ok;
  }
  if (verb === undefined || verb === "help" || verb === "--help" || verb === "-h") {
    const loaded = await Promise.all(Object.values(VERBS).map((load) => load()));
    terminal.print(
      generalHelp(loaded.map((module) => module.default), VERSION, helpColumns(terminal)),
    );
    return verb === undefined ? EXIT.usage : EXIT.ok;
  }
  if (verb.startsWith("-")) {
    throw new UsageError(
      `The verb comes first: "${verb}" is a flag; \`graft --help\` lists the verbs`,
    );
  }
  return await runVerb(argv, terminal, restrict);
}

/**
 * Runs a command line.
 *
 * @param restrict takes the permissions away that the verb does not need, for the rest of the process
 * @returns the exit code; errors are printed, not thrown
 */
export async function main(
  argv: readonly string[],
  terminal: Terminal,
  restrict: Restrict = dropPermissions,
): Promise<number> {
  try {
    return await dispatch(argv, terminal, restrict);
  } catch (error) {
    return reported(error, terminal);
  }
}

/** Prints an error; returns the exit code. */
function reported(error: unknown, terminal: Terminal): number {
  const debug = Deno.env.get("GRAFT_DEBUG") !== undefined;
  if (!(error instanceof OutputClosedError)) terminal.note(formatError(error, debug));
  return exitCodeOf(error);
}

if (import.meta.main) {
  const terminal = processTerminal();
  onUncaught((error) => Deno.exit(reported(error, terminal)));
  Deno.exit(await main(Deno.args, terminal));
}
