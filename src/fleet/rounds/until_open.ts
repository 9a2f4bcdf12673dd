/** Waits for the hours, the temperature and the battery at which a box may compute. */
import type { FineTunePauses } from "../../finetune/config.ts";
import { pauseGate } from "../../finetune/pause_gate.ts";
import { worded } from "../../errors.ts";
import { sleep } from "../../system/sleep.ts";
import { windowGate } from "../../train/pause.ts";

const LOOK_MS = 1000;
const MINUTE = 60_000;

export interface UntilOpenOptions {
  readonly signal: AbortSignal;
  /** Told why the work cannot begin yet, each time that the reason changes. */
  readonly onWait?: (reason: string) => void;
}

/**
 * Waits before a model is loaded, which would take memory all day.
 *
 * @param expires seconds since 1970 after which the work is of no use
 * @throws {ParameterError} for pauses that this machine cannot measure
 */
export async function untilOpen(
  pauses: FineTunePauses,
  expires: number,
  { signal, onWait = () => {} }: UntilOpenOptions,
): Promise<"open" | "stopped" | "too late"> {
  const gate = pauseGate(pauses);
  if (pauses.window !== undefined && !opensBefore(pauses.window, new Date(), expires)) {
    return "too late";
  }
  let told: string | undefined;
  while (!signal.aborted) {
    const reason = gate.closedBy(told !== undefined);
    if (reason === undefined) return "open";
    if (Date.now() / 1000 >= expires) return "too late";
    const text = worded(reason);
    if (told === undefined) onWait(text);
    told = text;
    await sleep(LOOK_MS, signal);
  }
  return "stopped";
}

/** Whether a window of the day is open at any time from now until then. */
function opensBefore(window: string, now: Date, expires: number): boolean {
  let at = now.getTime();
  const gate = windowGate(window, () => new Date(at));
  // A day has all of its times.
  const end = Math.min(expires * 1000, at + 24 * 60 * MINUTE);
  for (; at <= end; at += MINUTE) if (gate.closedBy(false) === undefined) return true;
  return false;
}
