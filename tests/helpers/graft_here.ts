/**
 * Runs the command line in the process of the tests: a process of its own reads and compiles graft
 * anew, which takes longer than most runs of a tiny model.
 */
import { main } from "../../src/cli/main.ts";
import type { Terminal } from "../../src/cli/output.ts";
import type { GraftResult } from "./graft.ts";
import "./leave_garbage.ts";

const COLUMNS = 80;

/** Runs `graft` here to its end; what it writes is what it would write into pipes. */
export async function graftHere(...args: string[]): Promise<GraftResult> {
  let [stdout, stderr] = ["", ""];
  const terminal: Terminal = {
    print: (line) => void (stdout += `${line}\n`),
    write: (text) => void (stdout += text),
    note: (line) => void (stderr += `${line}\n`),
    status: () => {},
    interactive: false,
    color: false,
    columns: COLUMNS,
  };
  // The permissions are the tests' as well, which need them further on.
  const code = await main(args, terminal, () => {});
  return { code, stdout, stderr };
}
