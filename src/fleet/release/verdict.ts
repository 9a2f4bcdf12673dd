/**
 * What the reports of a wave's boxes say: wait, open the next wave, stop the release, or all is done; or open
 * this wave wider, since no box that is known belongs to it.
 */
import { type Order, releaseId } from "./order.ts";
import { type BoxReport, hasDecided } from "./report.ts";
import { positionOf } from "./waves.ts";

/** The boxes of an open wave, by what they report. */
export interface WaveCount {
  /** Known boxes that the wave is open for. */
  readonly boxes: number;
  readonly promoted: number;
  readonly rejected: number;
  readonly failed: number;
  /** Mean of (loss of the release − loss in use) / loss in use over the boxes that measured both. */
  readonly lossChange?: number;
}

export type Verdict =
  | { readonly is: "wait" | "widen" | "next" | "done"; readonly count: WaveCount }
  | { readonly is: "stop"; readonly count: WaveCount; readonly why: string };

/** Counts what boxes of the open wave have decided about the order's target. */
export function countWave(order: Order, reports: readonly BoxReport[]): WaveCount {
  const release = order.target === null ? null : releaseId(order.target);
  const members = release === null
    ? []
    : reports.filter(({ box }) => positionOf(box, release) < order.open);
  const decided = members.filter((report) => report.release === release && hasDecided(report));
  const having = (state: string) => decided.filter((report) => report.state === state).length;
  const changes = decided.flatMap(({ loss, lossInUse }) =>
    loss === undefined || lossInUse === undefined || !(lossInUse > 0)
      ? []
      : [(loss - lossInUse) / lossInUse]
  );
  return {
    boxes: members.length,
    promoted: having("promoted"),
    rejected: having("rejected"),
    failed: having("failed"),
    lossChange: changes.length === 0
      ? undefined
      : changes.reduce((sum, change) => sum + change, 0) / changes.length,
  };
}

/**
 * Decides about the open wave.
 *
 * @param seconds how long the wave has been open
 */
export function judge(order: Order, reports: readonly BoxReport[], seconds: number): Verdict {
  const count = countWave(order, reports);
  const { boxes, promoted, rejected, failed, lossChange } = count;
  const { minReported, maxRejected, soakSeconds } = order.policy;
  if (order.target === null) return { is: "done", count };
  if (boxes === 0) return { is: reports.length === 0 ? "wait" : "widen", count };
  const bad = rejected + failed;
  if (bad > maxRejected * boxes) {
    const why = `${rejected} of ${boxes} boxes rejected it and ${failed} failed, and at most ` +
      `${100 * maxRejected}% may`;
    return { is: "stop", count, why };
  }
  const needed = Math.max(1, Math.ceil(minReported * boxes)); // one at least, if none need report
  if (promoted + bad < needed || seconds < soakSeconds) return { is: "wait", count };
  if (lossChange !== undefined && lossChange > 0) {
    const why = `held-out losses are ${(100 * lossChange).toFixed(1)}% higher on average`;
    return { is: "stop", count, why };
  }
  return { is: order.wave >= order.waves.length - 1 ? "done" : "next", count };
}
