/** Withdraws a release by an order of its own. */
import { UsageError } from "../../errors.ts";
import type { SigningKey } from "../release/keys.ts";
import { type Order, type Release, releaseId } from "../release/order.ts";
import type { FleetDesk } from "./fleet_desk.ts";
import { releaseBefore, withdrawOrder } from "./orders.ts";

/** Name for what boxes had before all releases. */
const NONE = "none";

/**
 * Sends boxes back to an earlier release.
 *
 * @param to its name, or `none`; default: the one before that is not withdrawn
 * @returns the order that was given
 * @throws {UsageError} if there is none, or it is the one in use or a withdrawn one
 */
export async function rollBack(desk: FleetDesk, key: SigningKey, to?: string): Promise<Order> {
  const { order, revision } = await desk.newest();
  const releases = await desk.releases();
  if (order.target === null && (to === undefined || to === NONE)) {
    throw new UsageError("Cannot roll back: there is no release in use");
  }
  const target = to === undefined ? releaseBefore(order, releases) : named(to, order, releases);
  const why = `back from ${order.target?.name ?? NONE} to ${
    target?.name ?? "what boxes had before"
  }`;
  const given = withdrawOrder(order, target, releases, why, await desk.moment());
  await desk.give(given, revision, key);
  return given;
}

function named(to: string, order: Order, releases: readonly Release[]): Release | null {
  if (to === NONE) return null;
  const found = releases.find(({ name }) => name === to);
  if (found === undefined) {
    const names = releases.map(({ name }) => name).join(", ") || "none";
    throw new UsageError(`Cannot roll back to "${to}": releases that are kept: ${names}`);
  }
  const id = releaseId(found);
  if (order.target !== null && id === releaseId(order.target)) {
    throw new UsageError(`Cannot roll back to "${to}": it is in use already`);
  }
  if (order.withdrawn.includes(id)) {
    throw new UsageError(`Cannot roll back to "${to}": it was withdrawn; publish it again`);
  }
  return found;
}
