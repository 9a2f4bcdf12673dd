/** Reads what `strace -f -y -xx` writes: completed system calls with their arguments. */

/** Calls that change files, or say where the next write goes. */
export const CALLS = [
  ...["open", "openat", "creat", "write", "writev", "pwrite64", "pwritev", "pwritev2", "lseek"],
  ...["truncate", "ftruncate", "fallocate", "copy_file_range", "sendfile", "splice", "mmap"],
  ...["rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"],
  ...["unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "dup", "dup2", "dup3", "fcntl"],
  ...["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"],
] as const;
export type CallName = typeof CALLS[number];

/** A call that succeeded. */
export interface Call {
  readonly name: CallName;
  /** As strace writes them. */
  readonly args: readonly string[];
  readonly result: number;
  /** Path of the file that the call opened. */
  readonly resultPath?: string;
}

const LINE = /^(\d+) +(.*)$/s;
const UNFINISHED = " <unfinished ...>";

/**
 * The calls of a trace in the order in which they returned; those that failed are left out.
 *
 * @throws {SyntaxError} for a line of another kind
 */
export function* callsOf(lines: Iterable<string>): Generator<Call> {
  const begun = new Map<string, string>();
  for (const line of lines) {
    if (line === "") continue;
    const [, thread, text] = LINE.exec(line) ?? [];
    if (thread === undefined) throw new SyntaxError(`no line of strace's: ${line.slice(0, 80)}`);
    if (text.startsWith("+++") || text.startsWith("---")) continue;
    if (text.endsWith(UNFINISHED)) {
      begun.set(thread, text.slice(0, -UNFINISHED.length));
      continue;
    }
    // "???" is the call of a thread that a signal ended, whose name strace no longer knows.
    const resumed = /^<\.\.\. (?:\w+|\?\?\?) resumed>/.exec(text);
    const whole = resumed === null ? text : begun.get(thread) + text.slice(resumed[0].length);
    const call = callOf(whole);
    if (call !== undefined) yield call;
  }
}

function callOf(text: string): Call | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(") ");
  const [, result, , path] = /^ *= (-?\d+|0x[0-9a-f]+|\?)(<(.*?)>)?/.exec(text.slice(close + 1)) ??
    [];
  if (open < 0 || result === undefined) {
    throw new SyntaxError(`no system call: ${text.slice(0, 80)}`);
  }
  // "?" is one that did not return: the process has ended.
  if (result === "?" || Number(result) < 0) return undefined;
  return {
    name: text.slice(0, open) as CallName,
    args: splitArguments(text.slice(open + 1, close)),
    result: Number(result),
    ...(path === undefined ? {} : { resultPath: textOf(path) }),
  };
}

/** Arguments between commas that are in no bracket; strings have neither, all of them being escaped. */
function splitArguments(text: string): string[] {
  const found: string[] = [];
  let [depth, start] = [0, 0];
  for (const { 0: sign, index } of text.matchAll(/[,([{<>}\])]/g)) {
    if (sign === ",") {
      if (depth > 0) continue;
      found.push(text.slice(start, index).trim());
      start = index + 1;
    } else depth += "([{<".includes(sign) ? 1 : -1;
  }
  found.push(text.slice(start).trim());
  return found;
}

/** The bytes of a string argument. */
export function bytesOf(argument: string): Uint8Array {
  if (!/^"(\\x[0-9a-f]{2})*"$/.test(argument)) {
    throw new SyntaxError(`no whole string: ${argument.slice(0, 40)}…${argument.slice(-10)}`);
  }
  return Uint8Array.fromHex(argument.slice(1, -1).replaceAll("\\x", ""));
}

/** The text of a string argument, or of a path in one: `\x2f` is a slash. */
export function textOf(argument: string): string {
  const inner = argument.startsWith('"') ? argument.slice(1, -1) : argument;
  return new TextDecoder().decode(
    Uint8Array.fromHex(
      inner.replace(
        /\\x([0-9a-f]{2})|([^\\])/g,
        (_, hex, plain) => hex ?? plain.codePointAt(0).toString(16).padStart(2, "0"),
      ),
    ),
  );
}

/** The number and path of a descriptor, as in `7<\x2ftmp>`; one whose file was removed has no path. */
export function descriptorOf(argument: string): { readonly number: string; readonly path: string } {
  const [, number, path] = /^([\w-]+)<(.*)>$/s.exec(argument) ?? [];
  return { number: number ?? argument, path: path === undefined ? "" : textOf(path) };
}
