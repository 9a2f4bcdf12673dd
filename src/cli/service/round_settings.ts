/** What a round that trains or installs needs: the service's folder, its rows, its log, its rules. */
import { join } from "@std/path";
import { checkRoundUser } from "../../service/round_user.ts";
import { makeDirectory } from "../../system/durable_files.ts";
import { openLog } from "../../system/journal_log.ts";
import type { Terminal } from "../terminal/output.ts";
import { childSettings } from "./child_settings.ts";
import { stateFolder } from "./service_flags.ts";

/** A training that is killed so often will be killed again. */
const ATTEMPTS = 3;

interface RoundFlags {
  readonly state?: string;
  readonly model: string;
  /** Folder with all rows; `data` in the service's folder if absent. */
  readonly data?: string;
  readonly trainConfig?: string;
  readonly promoteMargin: number;
  readonly keep: number;
}

/**
 * The round's parts, from the flags of its verb; makes the folder of rows.
 *
 * @param given keys of the flags that were given
 */
export function roundSettings(
  flags: RoundFlags,
  given: ReadonlySet<string>,
  terminal: Terminal,
) {
  const folder = stateFolder(flags);
  checkRoundUser(folder);
  const data = flags.data ?? join(folder, "data");
  makeDirectory(data);
  const log = openLog((line) => terminal.note(line));
  return {
    ...{ folder, data, log },
    settings: childSettings({ ...flags, data }, given, folder, log),
    options: { margin: flags.promoteMargin, keep: flags.keep, attempts: ATTEMPTS },
  };
}
