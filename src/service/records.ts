/** Records of the job's journal, and the state that they define. */

/** A cycle's number, as in the names of folders: `0004`. */
export type CycleName = string;

/** Held-out loss of a model, or of what takes its place if the model itself cannot be evaluated. */
export interface Score {
  readonly loss: number;
  readonly accuracy?: number;
  /** Reason for using the loss of a guess from the class frequencies. */
  readonly guessed?: string;
  /** Another model that was evaluated, `null` for the base, and the reason. */
  readonly instead?: { readonly model: CycleName | null; readonly why: string };
}

/** An event, by the value of `step`. */
export type JournalEvent =
  /** The data was copied: from here on the cycle has the same result whenever it continues. */
  | {
    readonly step: "begun";
    readonly cycle: CycleName;
    /** SHA-256 of the data. */
    readonly data: string;
    readonly rows: number;
    readonly heldOut: number;
    /** Held-out loss of a guess from the class frequencies, if rows have classes. */
    readonly guessLoss?: number;
    /** Number of rows that the model in use learned from and that are missing now; absent for none. */
    readonly forgotten?: number;
    /** The release that the cycle installs, by its id; absent for a round, which trains. */
    readonly release?: string;
  }
  /** A child was killed, or the job was stopped; the cycle continues later. */
  | { readonly step: "interrupted"; readonly cycle: CycleName; readonly why: string }
  | { readonly step: "trained"; readonly cycle: CycleName }
  | { readonly step: "merged"; readonly cycle: CycleName }
  | {
    readonly step: "evaluated";
    readonly cycle: CycleName;
    /** The model in use that it was compared with; `null` for the base. */
    readonly against: CycleName | null;
    readonly inUse: Score;
    readonly candidate: Score;
    readonly margin: number;
    readonly better: boolean;
  }
  /** There are models without records: the journal was moved away or damaged, or is older than they are. */
  | {
    readonly step: "found";
    /** The model that the link pointed to; `null` for the base. */
    readonly inUse: CycleName | null;
    /** All existing models, oldest first. */
    readonly models: readonly CycleName[];
    /** For a damaged journal: the first changed line, and the file with it and the later ones. */
    readonly damagedLine?: number;
    readonly keptAs?: string;
  }
  /** The decision; the link follows it. */
  | { readonly step: "promoted"; readonly cycle: CycleName; readonly from: CycleName | null }
  | { readonly step: "rejected"; readonly cycle: CycleName; readonly why: string }
  | { readonly step: "failed"; readonly cycle: CycleName; readonly why: string }
  /** The decision; the link follows it. */
  | {
    readonly step: "rolled back";
    readonly to: CycleName | null;
    readonly from: CycleName | null;
  };

/** An event and the time of its record, ISO 8601. */
export type JournalRecord = JournalEvent & { readonly at: string };

/** The last cycle. */
export interface Cycle {
  readonly name: CycleName;
  readonly data: string;
  /** The release that it installs; absent for a round. */
  readonly release?: string;
  readonly guessLoss?: number;
  readonly done: "begun" | "trained" | "merged" | "evaluated" | "ended";
  /** Whether it ended with a failure: the same data may be tried again. */
  readonly failed: boolean;
  /** After the evaluation: the model it was compared with, and whether it is better. */
  readonly verdict?: { readonly against: CycleName | null; readonly better: boolean };
}

/** The state that all records define. */
export interface Standing {
  readonly last?: Cycle;
  /** The last round that has ended: the same data is not learned from again, unless it failed. */
  readonly lastRound?: Cycle;
  /** The model that should be in use; `null` for the base. */
  readonly inUse: CycleName | null;
  /** Earlier models that a rollback returns to, the most recent one last. */
  readonly before: readonly (CycleName | null)[];
  /** Models that were promoted, oldest first. */
  readonly promoted: readonly CycleName[];
}

/** Computes the state from the records, in order. */
export function standingOf(records: readonly JournalRecord[]): Standing {
  return records.reduce<Standing>(
    (before, record) => withLastRound(after(before, record)),
    { inUse: null, before: [], promoted: [] },
  );
}

function withLastRound(standing: Standing): Standing {
  const { last } = standing;
  if (last?.done !== "ended" || last.release !== undefined) return standing;
  return { ...standing, lastRound: last };
}

function after(standing: Standing, record: JournalRecord): Standing {
  const { last, before, inUse } = standing;
  switch (record.step) {
    case "begun": {
      const { cycle: name, data, guessLoss, release } = record;
      return {
        ...standing,
        last: { name, data, guessLoss, release, done: "begun", failed: false },
      };
    }
    case "interrupted":
      return standing;
    case "found": {
      const before = record.models.filter((name) => name !== record.inUse);
      return { inUse: record.inUse, before: [null, ...before], promoted: record.models };
    }
    case "rolled back": {
      const at = before.lastIndexOf(record.to);
      return {
        ...standing,
        inUse: record.to,
        before: at < 0 ? [...before, inUse] : before.slice(0, at),
      };
    }
    case "trained":
    case "merged":
      return { ...standing, last: last && { ...last, done: record.step } };
    case "evaluated": {
      const { against, better } = record;
      return {
        ...standing,
        last: last && { ...last, done: "evaluated", verdict: { against, better } },
      };
    }
    case "rejected":
    case "failed":
      return {
        ...standing,
        last: last && { ...last, done: "ended", failed: record.step === "failed" },
      };
    case "promoted":
      return {
        ...standing,
        last: last && { ...last, done: "ended" },
        inUse: record.cycle,
        before: [...before, inUse],
        promoted: [...standing.promoted, record.cycle],
      };
  }
}

/** The cycle whose model may be among the promoted ones before its promotion is recorded. */
export function adopted({ last }: Standing): CycleName | undefined {
  return last?.done === "evaluated" && last.verdict?.better ? last.name : undefined;
}

/** The name of the cycle after the last one, and after all models. */
export function nextCycle({ last, promoted }: Standing): CycleName {
  const numbers = [last?.name ?? 0, ...promoted].map(Number);
  return String(Math.max(...numbers) + 1).padStart(4, "0");
}

/**
 * Models to keep: the one in use, the one before it, which a rollback needs, and the newest ones up to
 * `count` in total.
 */
export function modelsToKeep(
  { inUse, before, promoted }: Standing,
  count: number,
): ReadonlySet<CycleName> {
  const needed = [inUse, before.findLast((name) => name !== null)];
  const kept = new Set(needed.filter((name) => typeof name === "string"));
  for (const name of promoted.toReversed()) {
    if (kept.size >= count) break;
    kept.add(name);
  }
  return kept;
}

/** The model to return to, among the existing ones; `null` for the base. */
export function modelBefore(
  { before }: Standing,
  there: (name: CycleName) => boolean,
): CycleName | null {
  return before.findLast((name) => name === null || there(name)) ?? null;
}
