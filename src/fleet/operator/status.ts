/** The state of a fleet as its operator reads it. */
import type { Order } from "../release/order.ts";
import type { BoxReport } from "../release/report.ts";
import { countWave, type WaveCount } from "../release/verdict.ts";
import type { GivenOrder } from "./fleet_desk.ts";

export interface FleetStatus {
  readonly order: Omit<Order, "target"> & {
    readonly target:
      | { readonly name: string; readonly kind: string; readonly publishedAt: string }
      | null;
  };
  /** The boxes that the open wave is for. */
  readonly wave: WaveCount;
  readonly boxes: readonly BoxReport[];
}

/** Puts together what is known; the files of the release are left out. */
export function statusOf({ order }: GivenOrder, boxes: readonly BoxReport[]): FleetStatus {
  const { target } = order;
  const named = target && {
    name: target.name,
    kind: target.kind,
    publishedAt: target.publishedAt,
  };
  return { order: { ...order, target: named }, wave: countWave(order, boxes), boxes };
}
