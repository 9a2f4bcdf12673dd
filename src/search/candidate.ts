/** What a search of ranks compares: adapters of one method that differ in modules and ranks. */

/** The question that a candidate answers: which rank, which modules, or which rank for each module. */
export type CandidateKind = "rank" | "targets" | "per layer";

/** An adapter's modules and ranks. */
export interface Candidate {
  /** As people call it: `rank 4 on q,v`. */
  readonly name: string;
  readonly kind: CandidateKind;
  /** Modules by name, pattern, shorthand or path. */
  readonly targetModules: readonly string[];
  /** Rank of the modules without one in `rankPattern`. */
  readonly rank: number;
  /** Ranks of single modules. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Alphas of single modules. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Elements of all its matrices. */
  readonly parameters: number;
}

/** A candidate's scores after equally many steps. */
export interface Measured {
  readonly candidate: Candidate;
  /** A score for each seed, in the order of the seeds; higher is better. */
  readonly scores: readonly number[];
}
