/** Tells the user how much data was encoded, and what of it was cut or left out. */
import type { Noted, PrepareReport } from "../../data/mod.ts";
import { formatCount } from "../terminal/format.ts";
import type { Terminal } from "../terminal/output.ts";

/**
 * @param what what the rows are for, at the beginning of a line: "Training"
 * @param classes whether the rows have a class each, and no target tokens to count
 */
export function noteEncoded(
  what: string,
  report: PrepareReport,
  classes: boolean,
  terminal: Pick<Terminal, "note">,
): void {
  terminal.note(
    `${what}: ${formatCount(report.rows)} rows, ${formatCount(report.tokens)} tokens` +
      (classes ? "" : `, ${formatCount(report.targets)} of them targets`),
  );
  const tell = ({ count, first }: Noted, how: string) => {
    if (count > 0) terminal.note(`  ${formatCount(count)} rows ${how} (the first is ${first})`);
  };
  tell(report.truncated, "were cut at --max-seq-length");
  tell(report.leftOut, "were left out: nothing in them is to be learned");
  tell(report.lastTurnOnly, "teach only their last turn: the template rewrites others");
}
