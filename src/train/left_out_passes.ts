/** `GRAFT_PASSES`: planning passes that a process leaves out, to find the one behind a fault. */
import type { PassControl } from "../plan/planning_pass.ts";
import { parsePassSwitches } from "../plan/planning_passes.ts";

const VARIABLE = "GRAFT_PASSES";

/**
 * The passes that the environment leaves out: `-join-gates,-pack-tokens` leaves out these two.
 *
 * @throws {BadInputError} for a name that is not an optional pass, with the names that are
 */
export function passControlHere(): PassControl {
  return { without: parsePassSwitches(Deno.env.get(VARIABLE) ?? "", VARIABLE) };
}
