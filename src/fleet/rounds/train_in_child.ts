/** `graft fleet train` as a process beside the one with the network. */
import { YieldingProcess } from "../../jobs/yielding_process.ts";
import type { Log } from "../../system/journal_log.ts";
import { sleep } from "../../system/sleep.ts";
import { refusalFor } from "./run_task.ts";
import type { Spool } from "./spool.ts";

/** Before another try after a kill, which was for want of memory. */
const AGAIN_MS = 2000;

/**
 * Works on the task in the spool until there is a reply or the signal comes.
 *
 * @param words verb and flags
 */
export async function trainInChild(
  spool: Spool,
  words: readonly string[],
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted && spool.hasTask() && !spool.hasReply()) {
    const child = new YieldingProcess(words, { onLine: (line) => log("info", line) });
    const stop = () => child.stop();
    signal.addEventListener("abort", stop);
    const end = await child.ended;
    signal.removeEventListener("abort", stop);
    if (signal.aborted || spool.hasReply()) return;
    switch (end.ended) {
      case "killed":
        log("warning", `The training was ended: ${end.why}; going on`);
        await sleep(AGAIN_MS, signal);
        break;
      case "failed": {
        // It came to no task, as with a flag that it does not know.
        log("error", end.why);
        const task = spool.readTask();
        if (task === undefined) return;
        const reply = refusalFor(new Error(end.why));
        spool.putReply({ ...reply, header: task.header, at: Date.now() / 1000, seconds: 0 });
        spool.removeTask();
      }
    }
  }
}
