/**
 * The job's journal: what was done, one record a line, kept through a power loss.
 *
 * A line is 16 hexadecimal digits, a space and JSON. The digits are the beginning of SHA-256 over the
 * digits of the line before and this line's JSON, so that a line stands for all lines before it. A
 * record counts once its line is on the disk. A write that was cut leaves a last line without its end,
 * which the next record overwrites; a whole line that does not fit was changed by somebody, or by the
 * disk, and is refused.
 */
import { createHash } from "node:crypto";
import { BadInputError } from "../errors.ts";
import type { JournalRecord } from "./records.ts";

const DIGITS = 16;

/** What a journal's bytes say. */
export interface ReadJournal {
  readonly records: readonly JournalRecord[];
  /** Bytes of the whole lines; what comes after them is a cut write. */
  readonly sizeBytes: number;
  /** Digits of the last line. */
  readonly digits: string;
}

const START = "0".repeat(DIGITS);

function digitsOf(before: string, json: string): string {
  return createHash("sha256").update(before).update(json).digest("hex").slice(0, DIGITS);
}

/** The line of a record after the line with these digits. */
export function formatRecord(
  record: JournalRecord,
  before: string,
): { readonly line: Uint8Array<ArrayBuffer>; readonly digits: string } {
  const json = JSON.stringify(record);
  const digits = digitsOf(before, json);
  return { line: new TextEncoder().encode(`${digits} ${json}\n`), digits };
}

/**
 * Reads a journal.
 *
 * @param path for the message
 * @throws {BadInputError} where a line was changed after it was written, naming it
 */
export function parseJournal(bytes: Uint8Array, path: string): ReadJournal {
  const records: JournalRecord[] = [];
  let [at, digits] = [0, START];
  for (let end = bytes.indexOf(LF, at); end >= 0; end = bytes.indexOf(LF, at)) {
    const line = new TextDecoder().decode(bytes.subarray(at, end));
    const json = line.slice(DIGITS + 1);
    if (line.slice(0, DIGITS) !== digitsOf(digits, json)) break;
    records.push(JSON.parse(json));
    digits = line.slice(0, DIGITS);
    at = end + 1;
  }
  // One write is one line, and its end comes last: a whole line that does not fit was changed.
  if (WHOLE_LINE.test(new TextDecoder().decode(bytes.subarray(at)))) {
    throw new BadInputError(
      `${path}:${
        records.length + 1
      }: the line was changed after it was written: put a copy of the ` +
        "file back, or move it away, by which the service forgets what it did",
    );
  }
  return { records, sizeBytes: at, digits };
}

const LF = 0x0a;
const WHOLE_LINE = /^[0-9a-f]{16} \{.*\}\n/m;
