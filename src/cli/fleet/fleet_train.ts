/** `graft fleet train`: does the task that `graft fleet join` has taken, in a process without network. */
import { EXIT } from "../../errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneEvent } from "../../finetune/mod.ts";
import { Spool } from "../../fleet/rounds/spool.ts";
import { workOnTask } from "../../fleet/rounds/work_on_task.ts";
import { keepHeapSmall } from "../../system/memory.ts";
import { claimForRound } from "../../service/training_turns.ts";
import { command } from "../command.ts";
import { text } from "../flags.ts";
import type { Terminal } from "../terminal/output.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { trainingNotes } from "../train/training_notes.ts";
import { boxSettings, fleetState, ROUND_FLAGS, STATE_FLAG } from "./round_flags.ts";

/** What concerns the adapter's folder, which is only on its way. */
const UNTOLD: ReadonlySet<FineTuneEvent["kind"]> = new Set(["saved", "adapter note", "checkpoint"]);

export default command({
  name: "fleet train",
  summary: "Do the task that graft fleet join has taken from the fleet, without a network",
  flags: {
    ...STATE_FLAG,
    turns: text("Folder of a graft service whose trainings this one takes turns with", {
      placeholder: "DIR",
    }),
    ...ROUND_FLAGS,
  },
  examples: [
    {
      command:
        "graft fleet train --state /var/lib/graft-fleet --model ./smollm2-int4 --data ./data",
      does: "does the task that waits there, and leaves the reply; after a kill it goes on",
    },
  ],
  needs: ["run"],
  async run({ flags, given, terminal }) {
    keepHeapSmall();
    const spool = new Spool(fleetState(flags));
    const notes = trainingNotes(
      { learningRate: FINE_TUNE_PARAMETERS.learningRate.default, patience: 0 },
      terminal,
    );
    using stop = new StopSignal(() =>
      terminal.note("Stopping after this batch; again to stop at once")
    );
    using _turn = await turnOf(flags.turns, stop.signal, terminal);
    if (stop.signal.aborted) return EXIT.interrupted;
    const end = await workOnTask(spool, boxSettings(flags, given), {
      savePath: flags.savePath,
      onEvent: (event) => UNTOLD.has(event.kind) ? undefined : notes(event),
      onWait: (reason) => terminal.note(`Waits: ${reason}`),
      signal: stop.signal,
    });
    if (end === "nothing to do") terminal.note("No task waits");
    return end === "stopped" ? EXIT.interrupted : EXIT.ok;
  },
});

/** One training at a time on a box: a job of the service stops after a checkpoint, a round is waited for. */
async function turnOf(
  folder: string | undefined,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<Disposable | undefined> {
  if (folder === undefined) return undefined;
  return await claimForRound(
    folder,
    signal,
    () => terminal.note("Waits for another training of this box"),
  );
}
