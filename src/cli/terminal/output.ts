/**
 * Where a verb writes: results to standard output, everything about the work to standard error.
 *
 * A stream that nobody reads any more (`| head`, a log whose reader died) ends no work: what is begun is
 * finished, and its exit code tells. Text that is streamed is work for its reader alone. A log on a full
 * disk ends none either; a result that cannot be written there is lost, and said to be.
 */
import { OutputClosedError, StorageError } from "../../errors.ts";
import { printable } from "./printable.ts";

/** The two streams and what they can show. */
export interface Terminal {
  /** Writes a result and a line end to standard output; control characters in it are escaped. */
  print(line: string): void;
  /**
   * Writes text to standard output: streamed tokens. A terminal gets no control characters of it,
   * anything else the text as it is.
   *
   * @throws {OutputClosedError} where nobody reads it
   */
  write(text: string): void;
  /** Writes a note about the work and a line end to standard error; escaped as by `print`. */
  note(line: string): void;
  /** Redraws the last line of standard error in place; only where `interactive`. */
  status(line: string): void;
  /** Whether standard error is a terminal on which lines can be redrawn. */
  readonly interactive: boolean;
  /** Whether colours may be used (a terminal, and no `NO_COLOR`). */
  readonly color: boolean;
  /** Width of the terminal in characters; 80 where it is unknown. */
  readonly columns: number;
}

const UNKNOWN_COLUMNS = 80;
const CLEAR_LINE = "\r\x1b[K";

/** The process's own streams. */
export function processTerminal(): Terminal {
  const encoder = new TextEncoder();
  const interactive = Deno.stderr.isTerminal();
  const toTerminal = Deno.stdout.isTerminal();
  const colored = interactive && !Deno.noColor;
  let statusShown = false;
  const out = (text: string) => writeAll(Deno.stdout, encoder.encode(text));
  const err = (text: string) => {
    try {
      writeAll(Deno.stderr, encoder.encode(text));
    } catch { /* there is nowhere to say it */ }
  };
  const clearStatus = () => {
    if (!statusShown) return;
    err(CLEAR_LINE);
    statusShown = false;
  };
  return {
    print(line) {
      clearStatus();
      out(`${printable(line, colored)}\n`);
    },
    write(text) {
      clearStatus();
      if (!out(toTerminal ? printable(text) : text)) throw new OutputClosedError();
    },
    note(line) {
      clearStatus();
      err(`${printable(line, colored)}\n`);
    },
    status(line) {
      err(CLEAR_LINE + printable(line, colored));
      statusShown = true;
    },
    interactive,
    color: colored,
    get columns() {
      try {
        return Deno.consoleSize().columns || UNKNOWN_COLUMNS; // some terminals say 0
      } catch {
        return UNKNOWN_COLUMNS; // no terminal on any standard stream
      }
    },
  };
}

/**
 * @returns whether anybody reads the stream
 * @throws {StorageError} where it cannot be written for another reason
 */
function writeAll(stream: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): boolean {
  try {
    for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw new StorageError(`Cannot write the result: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

const ESCAPE = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** Paints text where the terminal shows colours. */
export function paint(terminal: Terminal, style: keyof typeof ESCAPE, text: string): string {
  return terminal.color ? `\x1b[${ESCAPE[style]}m${text}\x1b[0m` : text;
}
