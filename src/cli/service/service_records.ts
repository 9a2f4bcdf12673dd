/** Formats a service's records as lines of text. */
import type { CycleName, JournalRecord, Score } from "../../service/records.ts";
import { formatCount } from "../terminal/format.ts";

/**
 * Formats a record of the journal as a line, with control characters escaped, because another user wrote
 * it.
 */
export function formatRecord(record: JournalRecord): string {
  const line = `${record.at.slice(0, 19)}Z  ${record.step.padEnd(11)}  ${factsOf(record)}`;
  return line.replaceAll(/\p{Cc}+/gu, " ").trimEnd();
}

function factsOf(record: JournalRecord): string {
  switch (record.step) {
    case "begun": {
      const { cycle, rows, heldOut, forgotten = 0, release } = record;
      const what = release === undefined ? cycle : `${cycle}: release ${release.slice(0, 12)}`;
      return `${what}: ${formatCount(rows)} rows, ${formatCount(heldOut)} held out` +
        (forgotten === 0 ? "" : `, without ${formatCount(forgotten)} that are gone`);
    }
    case "trained":
    case "merged":
      return record.cycle;
    case "evaluated": {
      const { cycle, candidate, inUse, against, better } = record;
      const { guessed, instead = { model: against } } = inUse;
      const other = guessed === undefined ? modelName(instead.model) : "guessing";
      return `${cycle}: ${scoreOf(candidate)}; ${other}: ${scoreOf(inUse)}: ` +
        (better ? "better" : "no better");
    }
    case "promoted":
      return `${record.cycle} in the place of ${modelName(record.from)}`;
    case "found": {
      const { models, inUse, damagedLine, keptAs } = record;
      return `${models.join(", ") || "no models"}; in use: ${modelName(inUse)}` +
        (damagedLine === undefined ? "" : `; damaged from line ${damagedLine} on: ${keptAs}`);
    }
    case "rolled back":
      return `${modelName(record.from)} to ${modelName(record.to)}`;
    case "interrupted":
    case "rejected":
    case "failed":
      return `${record.cycle}: ${record.why}`;
  }
}

const modelName = (name: CycleName | null) => name ?? "the base";

function scoreOf({ loss, accuracy }: Score): string {
  // JSON has null if it is not finite.
  const shown = `loss ${Number.isFinite(loss) ? loss.toFixed(4) : "no number"}`;
  return accuracy === undefined ? shown : `${shown}, accuracy ${(100 * accuracy).toFixed(1)}%`;
}
