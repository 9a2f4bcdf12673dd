/** Passes of planning: named steps of one signature, which lists put in order. */
import type { Graph } from "../graph/types.ts";

/** A step from what there is of a plan to what comes next; a pure function. */
export interface PlanningPass<Subject, About> {
  /** As `GRAFT_PASSES` and `graft inspect --plan` have it. */
  readonly name: string;
  /** What it does, in a line. */
  readonly does: string;
  /** Whether a plan without it computes the same: it saves time or memory alone. */
  readonly isOptional: boolean;
  /** @returns the subject itself where there is nothing to do */
  apply(subject: Subject, about: About): Subject;
}

/** What a pass has made: of the whole graph, or of a call's. */
export interface PassResult {
  readonly pass: string;
  readonly graph: Graph;
  /** What the graph reads and nothing in it defines: tensors that are made before the first step. */
  readonly given: ReadonlySet<string>;
  /** The call's, where it is a call's graph. */
  readonly label?: string;
}

/** Which passes are applied, and who looks at what they make. */
export interface PassControl {
  /** Optional passes that are left out, to find the one behind a fault; default none. */
  readonly without?: ReadonlySet<string>;
  /** Called after each pass over a graph: to check what it has made, or to print it. */
  readonly onPass?: (made: PassResult) => void;
}

/**
 * Applies passes in their order.
 *
 * @param onMade called with what each has made
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
