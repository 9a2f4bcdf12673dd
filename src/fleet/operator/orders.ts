/** The orders of a roll-out, each made from the one before. */
import { type Order, type Release, releaseId, type WavePolicy } from "../release/order.ts";
import { opening, type Wave } from "../release/waves.ts";

/** What every order needs: when it is given, and the names of the boxes that are known. */
export interface Moment {
  readonly now: Date;
  readonly boxes: readonly string[];
}

/** Everything goes to all boxes at once: for what they had before. */
const AT_ONCE = { waves: ["100%"], wave: 0, open: 1 } as const;
/** Withdrawn releases that an order names: a box that was off for longer has older ones no more. */
const MOST_WITHDRAWN = 100;

/**
 * A number greater than the order before has. It is the time in seconds if that is greater, so that boxes
 * accept the orders of a store that was lost and made anew.
 */
function sequenceAfter(before: Order | undefined, now: Date): number {
  return Math.max((before?.sequence ?? 0) + 1, Math.floor(now.getTime() / 1000));
}

const stamp = (before: Order | undefined, { now }: Moment) => ({
  sequence: sequenceAfter(before, now),
  issuedAt: now.toISOString(),
});

/** The first wave of a release. */
export function publishOrder(
  before: Order | undefined,
  rollOut: {
    readonly fleet: string;
    readonly target: Release;
    readonly waves: readonly Wave[];
    readonly policy: WavePolicy;
  },
  moment: Moment,
): Order {
  const { fleet, target, waves, policy } = rollOut;
  return {
    ...stamp(before, moment),
    ...{ fleet, target, waves, policy, wave: 0 },
    withdrawn: before?.withdrawn ?? [],
    open: opening(waves[0], moment.boxes, releaseId(target)),
    why: `release ${target.name}, wave ${waves[0]}`,
  };
}

/** A wave of the same release: the next one, or the same for the boxes that are known now. */
export function openWave(before: Order, wave: number, moment: Moment): Order {
  const { target, waves } = before;
  return {
    ...before,
    ...stamp(before, moment),
    wave,
    // Boxes that came in the meantime may have changed which are the first: no wave takes one back.
    open: Math.max(before.open, opening(waves[wave], moment.boxes, releaseId(target!))),
    why: `release ${target!.name}, wave ${waves[wave]}`,
  };
}

/**
 * Withdraws the release in use, and those after the one to return to.
 *
 * @param to `null` for what boxes had before all releases
 * @param releases that the fleet was given, the newest first
 */
export function withdrawOrder(
  before: Order,
  to: Release | null,
  releases: readonly Release[],
  why: string,
  moment: Moment,
): Order {
  const later = releases.filter(({ publishedAt }) => to === null || publishedAt > to.publishedAt);
  const gone = [...(before.target === null ? [] : [before.target]), ...later].map(releaseId);
  const withdrawn = [...new Set([...before.withdrawn, ...gone])];
  return {
    ...before,
    ...stamp(before, moment),
    ...AT_ONCE,
    target: to,
    withdrawn: withdrawn.slice(-MOST_WITHDRAWN),
    why,
  };
}

/**
 * The release to return to: the newest one before the target that is not withdrawn.
 *
 * @param releases that the fleet was given, the newest first
 */
export function releaseBefore(order: Order, releases: readonly Release[]): Release | null {
  const { target, withdrawn } = order;
  return releases.find((release) => {
    const isEarlier = target === null || release.publishedAt < target.publishedAt;
    return isEarlier && !withdrawn.includes(releaseId(release));
  }) ?? null;
}

/** The releases of orders, each once, the newest first. */
export function releasesOf(orders: readonly Order[]): readonly Release[] {
  const found = new Map<string, Release>();
  for (const { target } of orders) if (target !== null) found.set(releaseId(target), target);
  return [...found.values()].sort((a, b) => a.publishedAt < b.publishedAt ? 1 : -1);
}
