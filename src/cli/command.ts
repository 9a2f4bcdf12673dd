/** A verb of the command line: a description, its flags, and a function. */
import type { Flags, Values } from "./flags.ts";
import type { Terminal } from "./terminal/output.ts";

/** One line of a verb's help that can be copied. */
export interface Example {
  readonly command: string;
  readonly does: string;
}

/** Permissions of Deno that only some verbs need. */
export type Need = "net" | "run";

/** Loaders of verbs by name, in the order of the help. */
export type Verbs = Readonly<Record<string, () => Promise<{ readonly default: Command }>>>;

/** A call of a verb, parsed and checked. */
export interface Invocation<F extends Flags = Flags> {
  /**
   * Values of the flags: from the command line, otherwise the configuration file, otherwise the
   * defaults.
   */
  readonly flags: Values<F>;
  /** Keys of the flags that the command line or the configuration file set. */
  readonly given: ReadonlySet<string>;
  /** Arguments of the command line besides flags. */
  readonly operands: readonly string[];
  readonly terminal: Terminal;
}

/** A verb; each has a file in this folder that exports it as the default. */
export interface Command<F extends Flags = Flags> {
  readonly name: string;
  /** One line without a full stop. */
  readonly summary: string;
  /** Operands as the usage line prints them, e.g. `[MODEL]`; absent if the verb takes none. */
  readonly operands?: string;
  /** Values of the first operand, if they are known. */
  readonly choices?: readonly string[];
  /** Most operands accepted; 0 if absent. */
  readonly maxOperands?: number;
  readonly flags: F;
  /**
   * The configuration file to read if the flag `config` names none.
   *
   * @param given values of the command line
   */
  impliedConfig?(given: Readonly<Record<string, unknown>>): string | undefined;
  /**
   * Beginning of the variables of the environment that its flags may be given by: `GRAFT_ARG_` for
   * `GRAFT_ARG_CTX_SIZE`. The command line overrides them, and they override the configuration file.
   */
  readonly environment?: string;
  /** Verbs of a second word, each with its own flags; without one `run` is called. */
  readonly verbs?: Verbs;
  readonly examples: readonly Example[];
  /**
   * Permissions beyond reading, writing and computing: `net` to connect to a hub or listen, `run` to
   * start other programs. Other verbs run without them; a verb of a second word has its own.
   */
  readonly needs?: readonly Need[];
  /**
   * Runs the verb.
   *
   * @returns the exit code, one of `EXIT` in `src/errors.ts`
   * @throws {GraftError} for errors that the user can act on; the message is printed as one line
   */
  run(invocation: Invocation<F>): Promise<number>;
}

/**
 * Declares a verb, with the types of its flags checked inside `run`.
 *
 * @example
 * ```ts
 * import { command } from "./command.ts";
 * import { integer, text } from "./flags.ts";
 *
 * export default command({
 *   name: "greet",
 *   summary: "Say hello",
 *   flags: {
 *     name: text("Whom to greet", { required: true, placeholder: "NAME" }),
 *     times: integer("How often", { default: 1, min: 1 }),
 *   },
 *   examples: [{ command: "graft greet --name Ada", does: "says hello once" }],
 *   run({ flags, terminal }) {
 *     for (let i = 0; i < flags.times; i++) terminal.print(`Hello, ${flags.name}`);
 *     return Promise.resolve(0);
 *   },
 * });
 * ```
 */
export function command<const F extends Flags>(definition: Command<F>): Command {
  return definition as unknown as Command;
}
