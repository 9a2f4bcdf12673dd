/** Of the processes of a job, the first one speaks. */
import { launchedRank } from "../../distributed/launcher.ts";
import type { Terminal } from "./output.ts";

/** Whether this process is the first of a job that an MPI launcher started, or in none. */
export const isFirstRank = (): boolean => launchedRank((name) => Deno.env.get(name)) === 0;

/** The terminal itself, or one that shows nothing in other processes of a job. */
export function ofFirstRank(terminal: Terminal): Terminal {
  if (isFirstRank()) return terminal;
  const nothing = () => {};
  return { ...terminal, print: nothing, write: nothing, note: nothing, status: nothing };
}
