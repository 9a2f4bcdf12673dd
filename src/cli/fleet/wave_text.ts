/** Formats what a look at the fleet says. */
import type { Look } from "../../fleet/operator/conduct.ts";
import type { Order } from "../../fleet/release/order.ts";
import type { WaveCount } from "../../fleet/release/verdict.ts";

/** Boxes of the open wave by what they decided: `3 of 5 boxes decided: 3 promoted`. */
export function formatCount({ boxes, promoted, rejected, failed, lossChange }: WaveCount): string {
  const parts = [
    [promoted, "promoted"] as const,
    [rejected, "rejected"] as const,
    [failed, "failed"] as const,
  ].filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`);
  const change = lossChange === undefined ? "" : `, held-out loss ${formatChange(lossChange)}`;
  const decided = promoted + rejected + failed;
  return `${decided} of ${boxes} boxes decided${
    parts.length === 0 ? "" : `: ${parts.join(", ")}`
  }${change}`;
}

/** A relative change: `-12.3%`. */
export const formatChange = (change: number): string =>
  `${change > 0 ? "+" : ""}${(100 * change).toFixed(1)}%`;

/** An order's wave: `wave 2 of 3 (10%)`. */
export const formatWavePlace = ({ wave, waves }: Pick<Order, "wave" | "waves">): string =>
  `wave ${wave + 1} of ${waves.length} (${waves[wave] ?? "100%"})`;

/** A line about a look. */
export function formatLook({ order, verdict, given }: Look): string {
  const where = `${order.target?.name ?? "no release"}, ${formatWavePlace(order)}`;
  const what = given === undefined ? "" : ` → order ${given.sequence}: ${given.why}`;
  return `${where}: ${formatCount(verdict.count)}${what}`;
}
