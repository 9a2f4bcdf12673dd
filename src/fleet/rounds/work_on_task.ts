/** The side of the data: does the task in the spool, and leaves the reply there. */
import type { BoxSettings } from "./box_config.ts";
import { refusalFor, runTask, type RunTaskOptions } from "./run_task.ts";
import type { Spool } from "./spool.ts";
import { removeWork } from "./work_folder.ts";

/** How often it is looked whether the task is still wanted. */
const LOOK_MS = 1000;

/**
 * Does the task that waits, if there is one.
 *
 * @param box makes its settings; what is wrong with them is replied to as any failure
 * @returns what became of it
 * @throws {GraftError} for what is wrong with this box; the reply then says that it failed
 */
export async function workOnTask(
  spool: Spool,
  box: () => BoxSettings | Promise<BoxSettings>,
  options: Omit<RunTaskOptions, "work">,
): Promise<"nothing to do" | "replied" | "stopped" | "withdrawn"> {
  const task = spool.readTask();
  if (task === undefined) return "nothing to do";
  const { header } = task;
  const began = performance.now();
  const withdrawn = new AbortController();
  const timer = setInterval(() => {
    if (!spool.hasTask()) withdrawn.abort(new Error("The task was withdrawn"));
  }, LOOK_MS);
  const signal = AbortSignal.any([options.signal, withdrawn.signal]);
  const finish = (reply: ReturnType<typeof refusalFor>) => {
    const seconds = (performance.now() - began) / 1000;
    spool.putReply({ ...reply, header, at: Date.now() / 1000, seconds });
    spool.removeTask();
    removeWork(spool.work);
  };
  try {
    const reply = await runTask(task, await box(), { ...options, work: spool.work, signal });
    if (withdrawn.signal.aborted) {
      removeWork(spool.work);
      return "withdrawn";
    }
    if (reply === undefined) return "stopped";
    finish(reply);
    return "replied";
  } catch (error) {
    if (!signal.aborted) finish(refusalFor(error));
    else if (withdrawn.signal.aborted) return "withdrawn";
    throw error;
  } finally {
    clearInterval(timer);
  }
}
