/** Repairs the service's folder, if possible, before the service answers. */
import { BusyError, GraftError } from "../errors.ts";
import type { Log } from "../system/journal_log.ts";
import { ServiceState } from "./state.ts";
import { DAMAGED, readJournal } from "./state_files.ts";

/**
 * Creates the folder, and repairs the state after a kill or with a damaged journal. A failure does not
 * prevent the service from answering, because the model in use can be read without it.
 */
export function settle(folder: string, log: Log): void {
  try {
    using state = ServiceState.open(folder);
    // A link there is the operator's, to the folder of the rows.
    if (state.held.kind("data") === undefined) state.held.makeFolder("data");
    if (state.damagedLine !== undefined) sayDamaged(folder, state.damagedLine, log);
  } catch (error) {
    if (!(error instanceof GraftError)) throw error;
    if (error instanceof BusyError) return sayBusy(folder, log);
    log("error", `${error.message}. The model in use answers all the same`, {
      EVENT: "not settled",
    });
  }
}

function sayBusy(folder: string, log: Log): void {
  log("notice", "A round is at work, or its folder cannot be locked: the model in use answers", {
    EVENT: "round at work",
  });
  try {
    const { damage } = readJournal(folder);
    if (damage !== undefined) sayDamaged(folder, damage.line, log);
  } catch (error) {
    log("error", (error as Error).message, { EVENT: "not settled" });
  }
}

function sayDamaged(folder: string, line: number, log: Log): void {
  log(
    "error",
    `Line ${line} of ${folder}/journal was changed after it was written. The model in use answers all ` +
      `the same; that line and the later ones are moved to ${folder}/${DAMAGED}… once no round is at ` +
      "work (graft service status)",
    { EVENT: "journal damaged" },
  );
}
