/** `GRAFT_PASSES`: passes of planning that a process leaves out, to find the one behind a fault. */
import type { PassControl } from "../plan/planning_pass.ts";
import { parsePassSwitches } from "../plan/planning_passes.ts";

const VARIABLE = "GRAFT_PASSES";

/**
 * What the environment says of passes: `-join-gates,-pack-tokens` leaves out these two.
 *
 * @throws {BadInputError} for a name that is none of an optional pass, with those that are
 */
export function passControlHere(): PassControl {
  return { without: parsePassSwitches(Deno.env.get(VARIABLE) ?? "", VARIABLE) };
}
