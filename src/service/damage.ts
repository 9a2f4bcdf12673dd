/**
 * Handles a journal with a line that was changed after it was written: the service continues with the
 * model in use, and nothing of the journal is lost. The line and all later ones are moved to a separate
 * file.
 */
import { createHash } from "node:crypto";
import { concat } from "@std/bytes/concat";
import type { HeldFolder } from "../system/held_folder.ts";
import { formatRecord, type ReadJournal } from "./journal.ts";
import type { JournalRecord } from "./records.ts";
import { DAMAGED, JOURNAL, linkedModel, modelNames } from "./state_files.ts";

/**
 * Moves the damaged end of a journal to another file, and replaces it by a record of the existing models
 * and the one in use. A kill in between leaves the journal unchanged; the next call has the same result.
 *
 * @returns the journal from now on
 */
export function keepDamage(folder: HeldFolder, { damage, ...read }: ReadJournal): ReadJournal {
  if (damage === undefined) return read;
  const keptAs = DAMAGED + createHash("sha256").update(damage.bytes).digest("hex").slice(0, 8);
  const record: JournalRecord = {
    step: "found",
    // If it is missing, an earlier one answers, and not the base.
    inUse: linkedModel(folder),
    models: modelNames(folder),
    damagedLine: damage.line,
    keptAs,
    at: new Date().toISOString(),
  };
  const { line, digits } = formatRecord(record, read.digits);
  const whole = folder.read(JOURNAL, Infinity)!.subarray(0, read.sizeBytes);
  folder.replace(keptAs, damage.bytes);
  folder.replace(JOURNAL, concat([whole, line]));
  return {
    records: [...read.records, record],
    sizeBytes: read.sizeBytes + line.length,
    digits,
  };
}
