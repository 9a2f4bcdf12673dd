/** The trials of a search that have ended, one JSON object in a line. */
import { replaceFile } from "../../system/durable_files.ts";
import { readSmallText } from "../../system/small_file.ts";

/** A trial that has ended. */
export interface TrialRecord {
  /** Digest of what decides it: base, data and settings, without the steps. */
  readonly trial: string;
  /** The candidate's name, for readers. */
  readonly name: string;
  /** Seed of its training. */
  readonly seed: number;
  /** Steps after which it was measured. */
  readonly steps: number;
  /** Seconds that its steps have taken so far. */
  readonly seconds: number;
  /** Mean validation loss; absent if it failed. */
  readonly loss?: number;
  /** Share of right answers, if the task has them. */
  readonly accuracy?: number;
  /** Why it cannot be trained. */
  readonly failed?: string;
}

/** A file of trials that survives a kill: each is in it as soon as it has ended. */
export class TrialJournal {
  readonly #path: string;
  readonly #records: TrialRecord[];

  /** @param resume whether to read what is there, or to begin anew */
  constructor(path: string, resume: boolean) {
    this.#path = path;
    this.#records = resume ? recordsIn(readSmallText(path) ?? "") : [];
  }

  /** The record of a trial after these steps; failed ones fail after any. */
  find(trial: string, steps: number): TrialRecord | undefined {
    return this.#records.find((record) =>
      record.trial === trial && (record.steps === steps || record.failed !== undefined)
    );
  }

  /** The last record of a trial. */
  last(trial: string): TrialRecord | undefined {
    return this.#records.findLast((record) => record.trial === trial);
  }

  /** @throws {StorageError} if it cannot be written */
  append(record: TrialRecord): void {
    this.#records.push(record);
    const text = this.#records.map((one) => JSON.stringify(one) + "\n").join("");
    replaceFile(this.#path, new TextEncoder().encode(text));
  }
}

function recordsIn(text: string): TrialRecord[] {
  return text.split("\n").flatMap((line) => {
    try {
      const record = JSON.parse(line);
      return isRecord(record) ? [record] : [];
    } catch {
      return []; // the empty end, or a line that somebody has edited
    }
  });
}

function isRecord(value: unknown): value is TrialRecord {
  if (typeof value !== "object" || value === null) return false;
  const { trial, name, seed, steps, seconds, loss, accuracy, failed } = value as Record<
    string,
    unknown
  >;
  const measured = Number.isFinite(loss) &&
    (accuracy === undefined || Number.isFinite(accuracy));
  return typeof trial === "string" && typeof name === "string" &&
    [seed, steps, seconds].every(Number.isFinite) && (typeof failed === "string" || measured);
}
