/**
 * The order of a search: ranks until they no longer help, then other modules with as many parameters,
 * then ever fewer candidates for ever more steps.
 */
import type { Message } from "../errors.ts";
import type { Candidate, Measured } from "./candidate.ts";
import { isBetter } from "./paired_difference.ts";
import { pick, promoted } from "./pick.ts";

/** What there is to compare. */
export interface SearchSpace {
  /** The ranks to try, ascending. */
  readonly ranks: readonly Candidate[];
  /** Candidates with about as many parameters as the rank that was chosen. */
  others(chosen: Candidate): Promise<readonly Candidate[]>;
}

/** How a search goes about it. */
export interface SearchRules {
  readonly seeds: readonly number[];
  /** Steps after which candidates are compared, ascending; the last is a whole training. */
  readonly rungs: readonly number[];
  /** One candidate in this many goes on to the next rung. */
  readonly reductionFactor: number;
  /** Whether larger ranks are left out once they no longer help. */
  readonly stopsAtPlateau: boolean;
}

/** How a trial ended. */
export type TrialEnd =
  /** A score; higher is better. */
  | { readonly kind: "scored"; readonly score: number }
  /** This candidate cannot be trained, a sentence says why: it is left out. */
  | { readonly kind: "failed"; readonly reason: Message }
  /** The search has no more time. */
  | { readonly kind: "out of time" };

/** Trains candidates. */
export interface TrialRunner {
  /** Trainings that can run at the same time; default 1. */
  readonly atOnce?: number;
  /** Trains a candidate with a seed from where it was until it has taken this many steps in all. */
  run(candidate: Candidate, seed: number, steps: number): Promise<TrialEnd>;
  /** A candidate is behind: what it needs to go on can be removed. */
  drop(candidate: Candidate): void;
}

/** A candidate's scores after some steps. */
export interface Standing extends Measured {
  readonly steps: number;
}

/** What a search found. */
export interface SearchOutcome {
  /** Each candidate's scores where it was trained longest, in the order of the search. */
  readonly standings: readonly Standing[];
  /** Candidates that could not be trained, with the reason. */
  readonly failed: readonly { readonly candidate: Candidate; readonly reason: Message }[];
  /** Those that were trained longest. */
  readonly finalists: readonly Standing[];
  /** The candidate to take, one of the finalists; absent if none was measured with every seed. */
  readonly picked?: Standing;
  /** Whether the search came to its end; otherwise its time did. */
  readonly complete: boolean;
}

/** Ranks in a row that do not help, after which none is tried. */
const PLATEAU = 2;

/** Runs a search to its end, or to that of its time. */
export async function search(
  space: SearchSpace,
  rules: SearchRules,
  runner: TrialRunner,
): Promise<SearchOutcome> {
  const trials = new Trials(rules.seeds, runner);
  let complete = true;
  try {
    await searchOn(space, rules, trials);
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error;
    complete = false;
  }
  const finalists = trials.finalists();
  return {
    ...{ standings: trials.standings(), failed: trials.failed, finalists, complete },
    ...(finalists.length === 0 ? {} : { picked: pick(finalists) }),
  };
}

async function searchOn(
  space: SearchSpace,
  { rungs: [first, ...later], reductionFactor, stopsAtPlateau }: SearchRules,
  trials: Trials,
): Promise<void> {
  let field = await climb(space.ranks, first, stopsAtPlateau, trials);
  if (field.length > 0) {
    const others = await space.others(pick(field).candidate);
    field = [...field, ...await trials.measureAll(others, first)];
  }
  for (const steps of later) {
    if (field.length === 0) return;
    const further = promoted(field, reductionFactor);
    for (const one of field) if (!further.includes(one)) trials.runner.drop(one.candidate);
    field = await trials.measureAll(further.map(({ candidate }) => candidate), steps);
  }
}

/** Measures ever larger ranks until two in a row are not significantly better than a smaller one. */
async function climb(
  ranks: readonly Candidate[],
  steps: number,
  stopsAtPlateau: boolean,
  trials: Trials,
): Promise<readonly Measured[]> {
  const field: Measured[] = [];
  let best: Measured | undefined;
  let flat = 0;
  // More than one where that costs no time: what lies beyond the plateau is dropped.
  const ahead = stopsAtPlateau ? trials.candidatesAtOnce : ranks.length;
  for (let start = 0; start < ranks.length; start += ahead) {
    const some = ranks.slice(start, start + ahead);
    const ends = await trials.run(some, steps);
    for (const [i, candidate] of some.entries()) {
      const found = trials.judge(candidate, steps, ends);
      if (found === undefined) continue;
      field.push(found);
      if (best === undefined || isBetter(found.scores, best.scores)) [best, flat] = [found, 0];
      else if (++flat === PLATEAU && stopsAtPlateau) {
        for (const beyond of some.slice(i + 1)) trials.runner.drop(beyond);
        return field;
      }
    }
  }
  return field;
}

class OutOfTime extends Error {}

/** How the trials of candidates ended, in the order of the seeds; those that did not run are absent. */
type TrialEnds = ReadonlyMap<Candidate, (TrialEnd | undefined)[]>;

/** Runs trials and keeps what they found. */
class Trials {
  readonly #standings = new Map<Candidate, Standing>();
  readonly failed: { readonly candidate: Candidate; readonly reason: Message }[] = [];

  constructor(readonly seeds: readonly number[], readonly runner: TrialRunner) {}

  /** Candidates all of whose seeds can be trained at the same time. */
  get candidatesAtOnce(): number {
    return Math.ceil((this.runner.atOnce ?? 1) / this.seeds.length);
  }

  /** Runs trials in order, as many at once as can be, until one fails with an error or time is over. */
  async run(candidates: readonly Candidate[], steps: number): Promise<TrialEnds> {
    const ends = new Map(
      candidates.map((
        candidate,
      ) => [candidate, this.seeds.map((): TrialEnd | undefined => undefined)]),
    );
    const waiting = candidates.flatMap((candidate) =>
      this.seeds.map((seed, i) => ({ candidate, seed, i }))
    );
    let isOver = false;
    const work = async () => {
      while (!isOver) {
        const trial = waiting.shift();
        if (trial === undefined) return;
        const { candidate, seed, i } = trial;
        const own = ends.get(candidate)!;
        if (own.some((end) => end?.kind === "failed")) continue;
        try {
          own[i] = await this.runner.run(candidate, seed, steps);
        } catch (error) {
          isOver = true;
          throw error;
        }
        isOver ||= own[i]!.kind === "out of time";
      }
    };
    const all = await Promise.allSettled(Array.from({ length: this.runner.atOnce ?? 1 }, work));
    const failure = all.find(({ status }) => status === "rejected");
    if (failure !== undefined) throw (failure as PromiseRejectedResult).reason;
    return ends;
  }

  /** `undefined` if the candidate cannot be trained. */
  judge(candidate: Candidate, steps: number, ends: TrialEnds): Measured | undefined {
    const scores: number[] = [];
    const own = ends.get(candidate)!;
    const failed = own.find((end) => end?.kind === "failed");
    for (const end of failed === undefined ? own : [failed]) {
      if (end === undefined || end.kind === "out of time") throw new OutOfTime();
      if (end.kind === "failed") {
        this.failed.push({ candidate, reason: end.reason });
        this.#standings.delete(candidate);
        return undefined;
      }
      scores.push(end.score);
    }
    const standing = { candidate, scores, steps };
    this.#standings.set(candidate, standing);
    return standing;
  }

  async measureAll(
    candidates: readonly Candidate[],
    steps: number,
  ): Promise<readonly Measured[]> {
    const field: Measured[] = [];
    const ends = await this.run(candidates, steps);
    for (const candidate of candidates) {
      const found = this.judge(candidate, steps, ends);
      if (found !== undefined) field.push(found);
    }
    return field;
  }

  standings(): readonly Standing[] {
    return [...this.#standings.values()];
  }

  finalists(): readonly Standing[] {
    const all = this.standings();
    const most = Math.max(...all.map(({ steps }) => steps));
    return all.filter(({ steps }) => steps === most);
  }
}
