/**
 * Runs the command line in the process of the tests: a process of its own reads and compiles graft
 * anew, which takes longer than most runs of a tiny model.
 */
import { main } from "../../src/cli/main.ts";
import type { Terminal } from "../../src/cli/terminal/output.ts";
import type { GraftResult } from "./graft.ts";
import "./leave_garbage.ts";

const COLUMNS = 80;
/** `deno test` takes SIGINT for itself, and ends. */
const SIGNAL = "SIGTERM";

/**
 * Runs `graft` here to its end; what it writes is what it would write into pipes.
 *
 * @param noted called with each line that it writes to standard error
 */
export async function graftHere(
  args: readonly string[],
  noted: (line: string) => void = () => {},
): Promise<GraftResult> {
  let [stdout, stderr] = ["", ""];
  const terminal: Terminal = {
    print: (line) => void (stdout += `${line}\n`),
    write: (text) => void (stdout += text),
    note(line) {
      stderr += `${line}\n`;
      noted(line);
    },
    status: () => {},
    interactive: false,
    color: false,
    columns: COLUMNS,
  };
  // The permissions are the tests' as well, which need them further on.
  const code = await main(args, terminal, () => {});
  return { code, stdout, stderr };
}

/** Runs `graft` here and sends this process SIGTERM, which `graft` heeds, at the first line that matches. */
export async function graftStoppedHere(
  when: RegExp,
  args: readonly string[],
): Promise<GraftResult> {
  // Where graft does not listen, the tests go on and fail.
  const listener = () => {};
  Deno.addSignalListener(SIGNAL, listener);
  let sent = false;
  try {
    return await graftHere(args, (line) => {
      if (sent || !when.test(line)) return;
      sent = true;
      Deno.kill(Deno.pid, SIGNAL);
    });
  } finally {
    Deno.removeSignalListener(SIGNAL, listener);
  }
}
