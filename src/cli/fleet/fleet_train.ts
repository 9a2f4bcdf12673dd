/** `graft fleet train`: does the task that `graft fleet join` has taken, in a process without network. */
import { EXIT } from "../../errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneEvent } from "../../finetune/mod.ts";
import { Spool } from "../../fleet/rounds/spool.ts";
import { workOnTask } from "../../fleet/rounds/work_on_task.ts";
import { keepHeapSmall } from "../../system/memory.ts";
import { command } from "../command.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { trainingNotes } from "../train/training_notes.ts";
import { boxSettings, fleetState, ROUND_FLAGS, STATE_FLAG } from "./round_flags.ts";

/** What concerns the adapter's folder, which is only on its way. */
const UNTOLD: ReadonlySet<FineTuneEvent["kind"]> = new Set(["saved", "adapter note", "checkpoint"]);

export default command({
  name: "fleet train",
  summary: "Do the task that graft fleet join has taken from the fleet, without a network",
  flags: { ...STATE_FLAG, ...ROUND_FLAGS },
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
