/** Opens one wave of a release after the other while boxes report well, and stops it if they do not. */
import { sleep } from "../../system/sleep.ts";
import type { SigningKey } from "../release/keys.ts";
import type { Order } from "../release/order.ts";
import { judge, type Verdict } from "../release/verdict.ts";
import type { FleetDesk, GivenOrder } from "./fleet_desk.ts";
import { openWave, releaseBefore, withdrawOrder } from "./orders.ts";

/** What a look at the fleet led to. */
export interface Look {
  readonly order: Order;
  readonly verdict: Verdict;
  /** The order that was given because of it. */
  readonly given?: Order;
}

/** Looks at the reports once, and gives the order that follows from them, if one does. */
export async function look(desk: FleetDesk, key: SigningKey): Promise<Look> {
  const newest = await desk.newest();
  const { order } = newest;
  const seconds = (Date.now() - Date.parse(order.issuedAt)) / 1000;
  const verdict = judge(order, await desk.reports(), seconds);
  const given = await orderAfter(desk, newest, verdict);
  if (given !== undefined) await desk.give(given, newest.revision, key);
  return { order, verdict, given };
}

async function orderAfter(
  desk: FleetDesk,
  { order }: GivenOrder,
  verdict: Verdict,
): Promise<Order | undefined> {
  if (verdict.is === "next" || verdict.is === "widen") {
    const wave = verdict.is === "next" ? order.wave + 1 : order.wave;
    return openWave(order, wave, await desk.moment());
  }
  if (verdict.is !== "stop") return undefined;
  const releases = await desk.releases();
  const to = releaseBefore(order, releases);
  const why = `release ${order.target!.name} stopped: ${verdict.why}`;
  // Only this one is withdrawn: those before it stay as they are.
  return withdrawOrder(order, to, [], why, await desk.moment());
}

/** How often reports are read. */
const LOOK_MS = 2000;

/**
 * Conducts the release until its last wave is done, it is stopped, or the signal comes.
 *
 * @param onLook called after each look
 * @returns the last look; `undefined` if the signal came first
 */
export async function conduct(
  desk: FleetDesk,
  key: SigningKey,
  signal: AbortSignal,
  onLook: (look: Look) => void,
  lookMs = LOOK_MS,
): Promise<Look | undefined> {
  while (!signal.aborted) {
    const seen = await look(desk, key);
    onLook(seen);
    const { is } = seen.verdict;
    if (is === "done" || is === "stop") return seen;
    if (is === "wait") await sleep(lookMs, signal);
  }
  return undefined;
}
