/** Flags of the verbs that run on a box. */
import { join } from "@std/path";
import { UsageError } from "../../errors.ts";
import { defaultBoxName } from "../../fleet/box/box_name.ts";
import { isBoxName } from "../../fleet/release/report.ts";
import { text } from "../flags.ts";
import { JOB_FLAGS } from "../service/service_train.ts";
import { MODEL_FLAG, STATE_FLAG, stateFolder } from "../service/service_flags.ts";
import { RUNTIME_FLAGS } from "../runtime_flags.ts";

/** Folder of the process that has the network, unless systemd sets another. */
export const DEFAULT_INBOX = "/var/lib/graft-follow";

export const BOX_FLAGS = {
  box: text("Name of this box; made from its host name and machine id if absent", {
    placeholder: "NAME",
  }),
  inbox: text(`Folder for what was fetched; ${DEFAULT_INBOX} if absent`, { placeholder: "DIR" }),
  outbox: text("Folder with the report; fleet/outbox in the service's folder if absent", {
    placeholder: "DIR",
  }),
} as const;

/** Flags of what installs a release. */
export const INSTALL_FLAGS = {
  ...MODEL_FLAG,
  ...STATE_FLAG,
  data: text("Folder with rows to measure on; data in the service's folder if absent", {
    placeholder: "DIR",
  }),
  ...JOB_FLAGS,
  ...RUNTIME_FLAGS,
} as const;

/** The folder with the report. */
export function outboxFolder(
  flags: { readonly outbox?: string; readonly state?: string },
): string {
  return flags.outbox ?? join(stateFolder(flags), "fleet", "outbox");
}

/** The box's name. */
export function boxNameOf({ box }: { readonly box?: string }): string {
  const name = box ?? defaultBoxName();
  if (isBoxName(name)) return name;
  throw new UsageError(
    `--box must be at most 80 letters, digits, - and _: current value is "${name}"`,
  );
}
