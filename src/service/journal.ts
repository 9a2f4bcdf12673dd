/**
 * The job's journal: one record per line, safe against power loss.
 *
 * A line is 16 hexadecimal digits, a space and JSON. The digits are the beginning of SHA-256 over the
 * digits of the line before and this line's JSON, so that a line covers all lines before it. A record is
 * valid once its line is on the disk. A cut write leaves a last line without a line end, which the next
 * record overwrites; a complete line whose digits do not match was changed by a person or by the disk:
 * it and all later ones are damage, which no record overwrites.
 */
import { createHash } from "node:crypto";
import { isRecord } from "./record_check.ts";
import type { JournalRecord } from "./records.ts";

const DIGITS = 16;

/** A line that was changed after it was written, and all later lines. */
export interface Damage {
  /** Number of the line, from 1. */
  readonly line: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Contents of a journal. */
export interface ReadJournal {
  readonly records: readonly JournalRecord[];
  /** Bytes of the complete lines; a cut write, or damage, may follow. */
  readonly sizeBytes: number;
  /** Digits of the last line. */
  readonly digits: string;
  readonly damage?: Damage;
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

/** Reads a journal, up to the first line that was changed after it was written. */
export function parseJournal(bytes: Uint8Array<ArrayBuffer>): ReadJournal {
  const records: JournalRecord[] = [];
  let [at, digits] = [0, START];
  for (let end = bytes.indexOf(LF, at); end >= 0; end = bytes.indexOf(LF, at)) {
    const line = new TextDecoder().decode(bytes.subarray(at, end));
    const json = line.slice(DIGITS + 1);
    if (line !== `${digitsOf(digits, json)} ${json}`) break;
    const record = parsed(json);
    if (record === undefined) break;
    records.push(record);
    digits = line.slice(0, DIGITS);
    at = end + 1;
  }
  const rest = new TextDecoder().decode(bytes.subarray(at));
  const damaged = WHOLE_LINE.test(rest) || hasWrongEnd(rest, digits);
  const damage = damaged ? { line: records.length + 1, bytes: bytes.slice(at) } : undefined;
  return { records, sizeBytes: at, digits, damage };
}

function parsed(json: string): JournalRecord | undefined {
  try {
    const value = JSON.parse(json);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const LF = 0x0a;
/**
 * A complete line. One write is one line, whose line end comes last, so a line with an end was complete.
 * It may have been changed in its digits or after them; the result of a power loss matches neither.
 */
const WHOLE_LINE = /^(?:[0-9a-f]{16}[^\0\n]*|[^\0\n]{17}\{[^\0\n]*)\n/m;

/** Whether a complete record is followed by something other than a line end. */
function hasWrongEnd(rest: string, before: string): boolean {
  const json = rest.slice(DIGITS + 1, rest.lastIndexOf("}") + 1);
  const whole = json !== "" && rest.startsWith(`${digitsOf(before, json)} ${json}`);
  return whole && rest.length > DIGITS + 1 + json.length;
}
