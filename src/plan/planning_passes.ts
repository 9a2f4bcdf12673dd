/**
 * All planning passes, in the order in which a plan goes through them: over the model's graph, over the graph
 * of each call that it is cut into, over the list of calls.
 */
import { BadInputError } from "../errors.ts";
import { CALL_PASSES } from "./call_passes.ts";
import { GRAPH_PASSES } from "./graph_passes.ts";
import { STEP_PASSES } from "./step_passes.ts";

/** A pass as it appears in a list. */
export interface ListedPass {
  /** As used in `GRAFT_PASSES`. */
  readonly name: string;
  /** What it does, in one line. */
  readonly does: string;
  /** Whether it only saves time or memory, and can be left out. */
  readonly isOptional: boolean;
  /** What it works on. */
  readonly over: "the model's graph" | "each call's graph" | "the step's calls";
}

type Described = Omit<ListedPass, "over">;

const listed = (over: ListedPass["over"], passes: readonly Described[]) =>
  passes.map(({ name, does, isOptional }): ListedPass => ({ name, does, isOptional, over }));

/** The passes of all three lists. */
export const PLANNING_PASSES: readonly ListedPass[] = [
  ...listed("the model's graph", GRAPH_PASSES),
  ...listed("each call's graph", CALL_PASSES),
  ...listed("the step's calls", STEP_PASSES),
];

/**
 * Parses the names of passes to leave out from a list such as `-join-gates,-pack-tokens`.
 *
 * @param text empty for none
 * @param source where it was read, for messages
 * @throws {BadInputError} for an entry that is not `-` followed by the name of an optional pass
 */
export function parsePassSwitches(text: string, source: string): ReadonlySet<string> {
  const without = new Set<string>();
  for (const entry of text.split(",").map((part) => part.trim())) {
    if (entry === "") continue;
    const pass = PLANNING_PASSES.find(({ name }) => entry === `-${name}`);
    if (pass?.isOptional) without.add(pass.name);
    else {
      const why = pass === undefined
        ? "there is no such pass to leave out"
        : "no plan can be made without that pass";
      throw new BadInputError(
        `Cannot read ${source}: ${why}: current value is "${entry}"; passes that can be left out: ` +
          PLANNING_PASSES.filter(({ isOptional }) => isOptional)
            .map(({ name }) => `-${name}`).join(", "),
      );
    }
  }
  return without;
}
