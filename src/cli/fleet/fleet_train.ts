/** `graft fleet train`: does the task that `graft fleet join` has taken, in a process without network. */
import { join } from "@std/path";
import { columnsOf } from "../../data/data_config.ts";
import { EXIT } from "../../errors.ts";
import { FINE_TUNE_PARAMETERS, type FineTuneEvent } from "../../finetune/mod.ts";
import { type BoxSettings, TRAINED } from "../../fleet/rounds/box_config.ts";
import { Spool } from "../../fleet/rounds/spool.ts";
import { workOnTask } from "../../fleet/rounds/work_on_task.ts";
import { takeSnapshot } from "../../service/snapshot.ts";
import { claimForRound } from "../../service/training_turns.ts";
import { tryLockPath } from "../../system/claim.ts";
import { exists, makeDirectory, removeDirectory } from "../../system/durable_files.ts";
import { keepHeapSmall } from "../../system/memory.ts";
import { sleep } from "../../system/sleep.ts";
import { hasCheckpoints } from "../../train/checkpoint_files.ts";
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
    service: text(
      "Folder of a graft service: rows are read as it reads them, copies and checkpoints stay there, and " +
        "its trainings take turns with this one",
      { placeholder: "DIR" },
    ),
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
    const { service } = flags;
    const spool = new Spool(fleetState(flags), service && join(service, WORK));
    const notes = trainingNotes(
      { learningRate: FINE_TUNE_PARAMETERS.learningRate.default, patience: 0 },
      terminal,
    );
    using stop = new StopSignal(() =>
      terminal.note("Stopping after this batch; again to stop at once")
    );
    using _claim = await claimTraining(spool.folder, stop.signal);
    using _turn = await turnOf(service, stop.signal, terminal);
    if (stop.signal.aborted) return EXIT.interrupted;
    const box = async () => {
      const settings = boxSettings(flags, given);
      return service === undefined ? settings : await copied(settings, service);
    };
    const end = await workOnTask(spool, box, {
      savePath: flags.savePath,
      onEvent: (event) => UNTOLD.has(event.kind) ? undefined : notes(event),
      onWait: (reason) => terminal.note(`Waits: ${reason}`),
      signal: stop.signal,
    });
    if (end === "nothing to do") terminal.note("No task waits");
    return end === "stopped" ? EXIT.interrupted : EXIT.ok;
  },
});

/** Folders of a service: of a training under way, and of the rows that it reads. */
const [WORK, ROWS] = ["learning", "learning-rows"];
/** Share of the prompts to hold out, as the service does. */
const VALIDATION_SPLIT = 0.1;

/** The box with a copy of a service's rows, of which some are held out; a training that resumes keeps its copy. */
async function copied(box: BoxSettings, service: string): Promise<BoxSettings> {
  const data = join(service, ROWS);
  if (!hasCheckpoints(join(service, WORK, TRAINED, "checkpoints"))) {
    if (exists(data)) removeDirectory(data);
    await takeSnapshot(box.data, data, {
      validationSplit: box.training.validationSplit ?? VALIDATION_SPLIT,
      columns: columnsOf(box.training),
    });
  }
  return { ...box, data };
}

/** Locked by the process that trains. */
const TRAINING = "training";
const LOOK_MS = 500;

/** A training whose parent was killed goes on; another one waits for it, and finds its reply. */
async function claimTraining(
  state: string,
  signal: AbortSignal,
): Promise<Disposable | undefined> {
  const path = join(state, TRAINING);
  makeDirectory(path);
  while (!signal.aborted) {
    const lock = tryLockPath(path);
    if (lock !== "taken") return lock === "impossible" ? undefined : lock;
    await sleep(LOOK_MS, signal);
  }
}

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
