/** Where a verb writes: results to standard output, everything about the work to standard error. */

/** The two streams and what they can show. */
export interface Terminal {
  /** Writes a result and a line end to standard output. */
  print(line: string): void;
  /** Writes text to standard output as it is: streamed tokens. */
  write(text: string): void;
  /** Writes a note about the work and a line end to standard error. */
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
  let statusShown = false;
  const err = (text: string) => writeAll(Deno.stderr, encoder.encode(text));
  const clearStatus = () => {
    if (!statusShown) return;
    err(CLEAR_LINE);
    statusShown = false;
  };
  return {
    print(line) {
      clearStatus();
      writeAll(Deno.stdout, encoder.encode(line + "\n"));
    },
    write(text) {
      clearStatus();
      writeAll(Deno.stdout, encoder.encode(text));
    },
    note(line) {
      clearStatus();
      err(line + "\n");
    },
    status(line) {
      err(CLEAR_LINE + line);
      statusShown = true;
    },
    interactive,
    color: interactive && !Deno.noColor,
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
 * A terminal whose notes wait for `release()`, or for its disposal where an error comes first: what
 * is said meanwhile stands before them.
 */
export function holdNotes(terminal: Terminal): Terminal & Disposable & { release(): void } {
  const held: string[] = [];
  const release = () => {
    for (const line of held.splice(0)) terminal.note(line);
  };
  return {
    ...terminal,
    get columns() {
      return terminal.columns;
    },
    note: (line) => void held.push(line),
    release,
    [Symbol.dispose]: release,
  };
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += stream.writeSync(bytes.subarray(done));
}

const ESCAPE = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** Paints text where the terminal shows colours. */
export function paint(terminal: Terminal, style: keyof typeof ESCAPE, text: string): string {
  return terminal.color ? `\x1b[${ESCAPE[style]}m${text}\x1b[0m` : text;
}
