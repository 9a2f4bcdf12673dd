/**
 * Runs the command line. `graft()` and `graftStopped()` run it in the process of the tests, which is
 * quicker; everything else as users do, in a process of its own. `GRAFT_BINARY` names a compiled one, of which all runs
 * are then processes.
 */
import { fromFileUrl } from "@std/path";
import { graftMain } from "./graft_bundle.ts";
import { graftHere, graftStoppedHere } from "./graft_here.ts";
import { TooLateError } from "./in_time.ts";
import { USERS_FLAGS } from "./measured_training.ts";

const SOURCE = fromFileUrl(new URL("../../src/cli/main.ts", import.meta.url));
const LEAVE_GARBAGE = fromFileUrl(new URL("leave_garbage.ts", import.meta.url));

const BINARY = Deno.env.get("GRAFT_BINARY");

/** What begins a command line of graft. */
const [PROGRAM, ...BEFORE]: readonly string[] = BINARY
  ? [Deno.realPathSync(BINARY)]
  : [Deno.execPath(), "run", "-A", "--no-check", `--preload=${LEAVE_GARBAGE}`, graftMain()];

/** The whole command line of graft with these arguments: the program and what it is given. */
export const commandLine = (args: readonly string[]): string[] => [PROGRAM, ...BEFORE, ...args];

export interface GraftResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function command(
  args: readonly string[],
  stdin: "null" | "piped" = "null",
  env: Readonly<Record<string, string>> = {},
): Deno.Command {
  return new Deno.Command(PROGRAM, {
    args: [...BEFORE, ...args],
    stdin,
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", ...env },
  });
}

/** Starts `graft` as users do, who have its garbage collected: where memory is what is tested. */
export function startTidyGraft(...args: string[]): Deno.ChildProcess {
  return BINARY ? startGraft(...args) : startTidySource(...args);
}

/** As {@linkcode startTidyGraft}, and from the source even if there is a binary. */
export function startTidySource(...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...USERS_FLAGS, SOURCE, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

/** Starts `graft` with these arguments. */
export function startGraft(...args: string[]): Deno.ChildProcess {
  return startGraftWith({}, ...args);
}

/** Starts `graft` with more environment. */
export function startGraftWith(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Deno.ChildProcess {
  return command(args, "null", env).spawn();
}

/** Runs `graft` with these arguments to its end, in no process of its own where it is the source. */
export function graft(...args: string[]): Promise<GraftResult> {
  return BINARY ? graftProcess(...args) : graftHere(args);
}

/**
 * Runs `graft` in a process of its own: for what depends on one, as its memory, its standard input, a
 * library that it loads, and verbs that start themselves again.
 */
export function graftProcess(...args: string[]): Promise<GraftResult> {
  return graftWith({}, ...args);
}

/** Runs `graft` in a process with more environment to its end. */
export async function graftWith(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<GraftResult> {
  const { code, stdout, stderr } = await command(args, "null", env).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Starts `graft` under another program, as `strace` and its arguments. */
export function startGraftUnder(
  [program, ...before]: readonly string[],
  ...args: string[]
): Deno.ChildProcess {
  return new Deno.Command(program, {
    args: [...before, PROGRAM, ...BEFORE, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
}

/** Runs `graft` under another program to its end. */
export async function graftUnder(
  under: readonly string[],
  ...args: string[]
): Promise<GraftResult> {
  const { code, stdout, stderr } = await startGraftUnder(under, ...args).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs `graft` with a text on its standard input, which is a pipe. */
export async function graftWithInput(
  input: string | Uint8Array<ArrayBuffer>,
  ...args: string[]
): Promise<GraftResult> {
  const child = command(args, "piped").spawn();
  const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
  // A program that ends with an error may not read all of it.
  await new Blob([bytes]).stream().pipeTo(child.stdin).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs `graft` as `graft()` does, and stops it by SIGTERM once its standard error matches. */
export function graftStopped(when: RegExp, ...args: string[]): Promise<GraftResult> {
  return BINARY ? graftSignalled(when, "SIGTERM", ...args) : graftStoppedHere(when, args);
}

/**
 * Runs `graft` in a process and sends it a signal once its standard error matches.
 *
 * @throws {TooLateError} where the run ended by itself, before the signal or beyond what should match; see
 *   `inTime()`
 */
export async function graftSignalled(
  when: RegExp,
  signal: Deno.Signal,
  ...args: string[]
): Promise<GraftResult> {
  const send = (child: Deno.ChildProcess) => {
    try {
      child.kill(signal);
    } catch {
      // It has ended; its code says how.
    }
  };
  const result = await graftReacting(when, send, {}, ...args);
  if (result.code !== 0) return result;
  throw new TooLateError(`It ended before ${signal} at ${when}: ${result.stderr}`);
}

/** Runs `graft` with more environment, and does something once its standard error matches. */
export async function graftReacting(
  when: RegExp,
  react: (child: Deno.ChildProcess) => void,
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<GraftResult> {
  const child = command(args, "null", env).spawn();
  const stdout = new Response(child.stdout).text();
  let stderr = "";
  let reacted = false;
  for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
    stderr += chunk;
    if (reacted || !when.test(stderr)) continue;
    react(child);
    reacted = true;
  }
  const { code } = await child.status;
  return { code, stdout: await stdout, stderr };
}

/** Runs `graft` with a pseudo-terminal for its streams, by util-linux's `script`; returns what it showed. */
export function graftOnTerminal(
  env: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<string> {
  return onTerminal(env, "", args);
}

/** Runs `graft` on a pseudo-terminal and types a text there; returns what it showed. */
export function graftTyped(typed: string, ...args: string[]): Promise<string> {
  return onTerminal({ NO_COLOR: "1" }, typed, args);
}

/** A user at a pseudo-terminal: types when something is shown. */
export interface TerminalUser {
  /** Waits until what was shown since the last wait matches. */
  until(shown: RegExp): Promise<void>;
  /** Types keys; `\x03` is Ctrl-C, which the terminal turns into a signal. */
  type(keys: string): Promise<void>;
}

/**
 * Runs `graft` on a pseudo-terminal with somebody at it.
 *
 * @returns its exit code, 128 + signal where one ended it, and all that it showed
 */
export async function graftAtTerminal(
  user: (terminal: TerminalUser) => Promise<void>,
  ...args: string[]
): Promise<{ readonly code: number; readonly shown: string }> {
  const child = startOnTerminal({ NO_COLOR: "1" }, "piped", args);
  const writer = child.stdin.getWriter();
  const chunks = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let [shown, seen] = ["", 0];
  const more = async (): Promise<boolean> => {
    const { value, done } = await chunks.read();
    shown += value ?? "";
    return !done;
  };
  await user({
    async until(expected) {
      while (!expected.test(shown.slice(seen))) {
        if (!await more()) throw new Error(`It ended before ${expected} was shown: ${shown}`);
      }
      seen = shown.length;
    },
    type: (keys) => writer.write(new TextEncoder().encode(keys)),
  });
  while (await more());
  const { code } = await child.status;
  await writer.close().catch(() => {}); // the terminal may be gone
  return { code, shown };
}

async function onTerminal(
  env: Readonly<Record<string, string>>,
  typed: string,
  args: readonly string[],
): Promise<string> {
  const child = startOnTerminal(env, typed === "" ? "null" : "piped", args);
  if (typed !== "") await new Blob([typed]).stream().pipeTo(child.stdin);
  const { stdout } = await child.output();
  return new TextDecoder().decode(stdout);
}

function startOnTerminal(
  env: Readonly<Record<string, string>>,
  stdin: "null" | "piped",
  args: readonly string[],
): Deno.ChildProcess {
  const words = [PROGRAM, ...BEFORE, ...args]
    .map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  // `script` runs the line in a shell; one that stays there may die of Ctrl-C itself, as dash does.
  const line = `exec ${words.join(" ")}`;
  const inherited = Deno.env.toObject();
  delete inherited.NO_COLOR;
  return new Deno.Command("script", {
    args: ["-qec", line, "/dev/null"],
    stdin,
    stdout: "piped",
    clearEnv: true,
    env: { ...inherited, TERM: "xterm", ...env },
  }).spawn();
}
