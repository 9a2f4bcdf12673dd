/** Of the processes of a job, the first one speaks. */
import { launchedRank } from "../../distributed/launcher.ts";
import type { Terminal } from "./output.ts";

/** The terminal itself, or one that shows nothing in other processes of a job that MPI's launcher started. */
export function ofFirstRank(terminal: Terminal): Terminal {
  if (launchedRank((name) => Deno.env.get(name)) === 0) return terminal;
  const nothing = () => {};
  return { ...terminal, print: nothing, write: nothing, note: nothing, status: nothing };
}
