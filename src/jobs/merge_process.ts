/** `graft merge` as a process beside the server. */
import { YieldingProcess } from "./yielding_process.ts";

export interface MergeProcessOptions {
  /** The base, as the command line names it. */
  readonly model: string;
  /** Folder or name of the adapter. */
  readonly adapter: string;
  /** Absolute path of the folder to write. */
  readonly savePath: string;
  /** More flags: of the runtime. */
  readonly flags: readonly string[];
}

/**
 * Starts a merge; told to stop, it writes nothing. It has the lowest priority, but does not stand still
 * while requests are in work: a server that is never idle could otherwise not change its adapter. The
 * server times the result, so the merge does not.
 */
export function startMerge(
  { model, adapter, savePath, flags }: MergeProcessOptions,
): YieldingProcess {
  return new YieldingProcess([
    "merge",
    ...["--model", model, "--adapter-path", adapter, "--save-path", savePath],
    "--no-latency",
    ...flags,
  ]);
}
