/** Waits for a release's waves, for the verbs that may. */
import { EXIT, RefusedError } from "../../errors.ts";
import { conduct, type Look, look } from "../../fleet/operator/conduct.ts";
import type { FleetDesk } from "../../fleet/operator/fleet_desk.ts";
import type { SigningKey } from "../../fleet/release/keys.ts";
import { boolean } from "../flags.ts";
import type { Terminal } from "../terminal/output.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { formatLook } from "./wave_text.ts";

export const WAIT_FLAG = {
  wait: boolean("Open the next waves as boxes report, until the last one is done", {
    default: true,
  }),
} as const;

/**
 * Opens waves until the last one is done, or looks once.
 *
 * @returns the exit code
 * @throws {RefusedError} if the release was stopped
 */
export async function conductWaves(
  desk: FleetDesk,
  key: SigningKey,
  wait: boolean,
  terminal: Terminal,
): Promise<number> {
  let shown = "";
  const show = (seen: Look) => {
    const line = formatLook(seen);
    if (line !== shown) terminal.print(line);
    shown = line;
  };
  const seen = wait ? await untilDone(desk, key, terminal, show) : await look(desk, key);
  if (seen === undefined) return EXIT.interrupted;
  show(seen);
  if (seen.verdict.is !== "stop") return EXIT.ok;
  throw new RefusedError(
    `Release ${seen.order.target!.name} was stopped: ${seen.verdict.why}; boxes go back to ` +
      `${seen.given!.target?.name ?? "what they had before"} (graft fleet status shows them)`,
  );
}

async function untilDone(
  desk: FleetDesk,
  key: SigningKey,
  terminal: Terminal,
  show: (seen: Look) => void,
): Promise<Look | undefined> {
  using stop = new StopSignal(() =>
    terminal.note("The release stays at its wave: graft fleet advance goes on")
  );
  return await conduct(desk, key, stop.signal, show);
}
