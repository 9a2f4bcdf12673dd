/** A fleet as its operator sees it: the orders given, what boxes report, and new orders. */
import { BadInputError, GraftError, UsageError } from "../../errors.ts";
import { openOrder, sealOrder } from "../release/envelope.ts";
import type { SigningKey, TrustedKeys } from "../release/keys.ts";
import type { Order, Release } from "../release/order.ts";
import { type BoxReport, decodeReport } from "../release/report.ts";
import type { FleetStore } from "../store/store.ts";
import { type Moment, releasesOf } from "./orders.ts";

/** The newest order with its revision. */
export interface GivenOrder {
  readonly order: Order;
  /** The order with its signature. */
  readonly envelope: Uint8Array;
  readonly revision: number;
}

export class FleetDesk {
  /** @param keys that verify the orders that are there */
  constructor(
    readonly store: FleetStore,
    readonly fleet: string,
    readonly keys: TrustedKeys,
  ) {}

  /** The newest order; `undefined` if there is none. */
  async given(): Promise<GivenOrder | undefined> {
    const stored = await this.store.order();
    if (stored === undefined) return undefined;
    const { bytes, revision } = stored;
    const order = openOrder(bytes, this.keys, this.fleet, this.store.address);
    return { order, envelope: bytes, revision };
  }

  /**
   * The newest order.
   *
   * @throws {UsageError} if there is none
   */
  async newest(): Promise<GivenOrder> {
    const given = await this.given();
    if (given !== undefined) return given;
    throw new UsageError(
      `No release was published to ${this.store.address}: graft fleet publish begins`,
    );
  }

  /** Orders that are kept and that a trusted key has signed, the newest first. */
  async history(): Promise<readonly Order[]> {
    const envelopes = await this.store.orders();
    return envelopes.flatMap((bytes) => {
      try {
        return [openOrder(bytes, this.keys, this.fleet, this.store.address)];
      } catch (error) {
        if (error instanceof GraftError) return []; // of another key, or another version
        throw error;
      }
    });
  }

  /** Releases of the kept orders, the newest first. */
  async releases(): Promise<readonly Release[]> {
    return releasesOf(await this.history());
  }

  /** What boxes report, by name; reports that are none are left out. */
  async reports(): Promise<readonly BoxReport[]> {
    const found: BoxReport[] = [];
    for (const [box, bytes] of await this.store.reports()) {
      const report = decodeReport(bytes, box);
      if (report !== undefined) found.push(report);
    }
    return found.sort((a, b) => a.box < b.box ? -1 : 1);
  }

  /** Now, with the boxes that have reported. */
  async moment(): Promise<Moment> {
    return { now: new Date(), boxes: (await this.reports()).map(({ box }) => box) };
  }

  /** Signs an order and puts it after another. */
  async give(order: Order, after: number | undefined, key: SigningKey): Promise<void> {
    if (!this.keys.has(key.id)) {
      throw new BadInputError(`key ${key.id} is not one of the trusted keys`);
    }
    await this.store.putOrder(sealOrder(order, key), after);
  }
}
