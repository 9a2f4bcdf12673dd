/** Planning passes: named steps with one signature, put in order by lists. */
import type { Graph } from "../graph/types.ts";

/** A pure function from one state of a plan to the next. */
export interface PlanningPass<Subject, About> {
  /** As used in `GRAFT_PASSES` and printed by `graft inspect --plan`. */
  readonly name: string;
  /** What it does, in one line. */
  readonly does: string;
  /** Whether a plan without it computes the same, because it only saves time or memory. */
  readonly isOptional: boolean;
  /** @returns the subject itself where there is nothing to do */
  apply(subject: Subject, about: About): Subject;
}

/** The graph that a pass has made: the whole graph, or a call's. */
export interface PassResult {
  readonly pass: string;
  readonly graph: Graph;
  /** Values that the graph reads but does not define: tensors made before the first step. */
  readonly given: ReadonlySet<string>;
  /** The call's label, for a call's graph. */
  readonly label?: string;
}

/** Which passes are applied, and an observer of their results. */
export interface PassControl {
  /** Optional passes to leave out, for finding the one behind a fault; default none. */
  readonly without?: ReadonlySet<string>;
  /** Called after each pass over a graph, to check its result or print it. */
  readonly onPass?: (made: PassResult) => void;
}

/**
 * Applies passes in order.
 *
 * @param onMade called with the result of each
 */
export function applyPasses<Subject, About>(
  passes: readonly PlanningPass<Subject, About>[],
  given: Subject,
  about: About,
  without: ReadonlySet<string> = NONE,
  onMade?: (pass: string, made: Subject) => void,
): Subject {
  let subject = given;
  for (const pass of passes) {
    if (pass.isOptional && without.has(pass.name)) continue;
    subject = pass.apply(subject, about);
    onMade?.(pass.name, subject);
  }
  return subject;
}

const NONE: ReadonlySet<string> = new Set();
