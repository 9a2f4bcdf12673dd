/** Common flags of the verbs of `graft service`, and the paths of a service's folders. */
import { join } from "@std/path";
import { UsageError } from "../../errors.ts";
import { DEFAULT_MODEL } from "../../model/carried_model.ts";
import { FLEET_FOLDER } from "../../service/fleet_units.ts";
import { text } from "../flags.ts";
import { BASE_TEXT } from "../models/model_text.ts";

/** Default folders, unless systemd sets others for a unit. */
export const DEFAULT_STATE = "/var/lib/graft";
/** Folder of tasks and replies of a fleet. */
export const FLEET_STATE = `/var/lib/${FLEET_FOLDER}`;
const DEFAULT_RUNTIME = "/run/graft";

export const STATE_FLAG = {
  state: text(
    `Folder of the service; STATE_DIRECTORY, which systemd sets, or ${DEFAULT_STATE} if absent`,
    { placeholder: "DIR" },
  ),
} as const;

export const SOCKET_FLAG = {
  socket: text("Path of the socket; in RUNTIME_DIRECTORY, or /run/graft/socket if absent", {
    placeholder: "PATH",
  }),
} as const;

export const MODEL_FLAG = {
  model: text(BASE_TEXT, {
    short: "m",
    placeholder: "DIR",
    default: DEFAULT_MODEL,
  }),
} as const;

/** The service's folder. */
export function stateFolder({ state }: { readonly state?: string }): string {
  return state ?? Deno.env.get("STATE_DIRECTORY") ?? DEFAULT_STATE;
}

/** The service's socket. */
export function socketPath({ socket }: { readonly socket?: string }): string {
  return socket ?? join(Deno.env.get("RUNTIME_DIRECTORY") ?? DEFAULT_RUNTIME, "socket");
}

/**
 * Permissions of a file from octal digits.
 *
 * @throws {UsageError} for anything else
 */
export function fileMode(digits: string): number {
  if (/^0?[0-7]{3}$/.test(digits)) return parseInt(digits, 8);
  throw new UsageError(
    `--socket-mode must be three octal digits such as 660: current value is "${digits}"`,
  );
}
