/** Follows a fleet's order: takes what is new into the inbox, and sends the box's reports. */
import { equals } from "@std/bytes/equals";
import {
  asProperty,
  BadInputError,
  type GraftError,
  type NameParameter,
  StorageError,
} from "../../errors.ts";
import type { Log } from "../../system/journal_log.ts";
import { VERSION } from "../../version.ts";
import { openOrder } from "../release/envelope.ts";
import type { TrustedKeys } from "../release/keys.ts";
import { type Order, piecesOf, releaseId } from "../release/order.ts";
import { type BoxReport, type BoxState, encodeReport, hasDecided } from "../release/report.ts";
import { positionOf } from "../release/waves.ts";
import type { FleetStore } from "../store/store.ts";
import { fetchRelease } from "./fetch_release.ts";
import type { Inbox } from "./inbox.ts";
import type { Outbox } from "./outbox.ts";
import { acceptOrder } from "./seen_order.ts";

/** Time in which the installing process says something about an order, else it is woken again. */
const REMIND_MS = 30_000;

interface FollowerSettings {
  readonly box: string;
  readonly fleet: string;
  readonly keys: TrustedKeys;
  /** Most bytes of a release. */
  readonly maxBytes: number;
  /** Time after which a release that failed is tried again. */
  readonly retryMs: number;
  /** What parameters are called in logs and reports; default as a program writes them. */
  readonly nameParameter?: NameParameter;
}

/** Where orders, pieces and reports are. */
export interface FollowerPlaces {
  readonly store: FleetStore;
  readonly inbox: Inbox;
  readonly outbox: Outbox;
}

export class Follower {
  /** What this process has to say about the order, beside what the installing one reports. */
  #own: BoxReport | undefined;
  #sent: string | undefined;
  #handedOverAt: number | undefined;
  #last: Order | undefined;

  readonly store: FleetStore;
  readonly inbox: Inbox;
  readonly outbox: Outbox;

  /** @param onHandover called when the installing process has something to do */
  constructor(
    { store, inbox, outbox }: FollowerPlaces,
    readonly settings: FollowerSettings,
    readonly log: Log,
    readonly onHandover: () => void,
  ) {
    [this.store, this.inbox, this.outbox] = [store, inbox, outbox];
    inbox.create();
  }

  /**
   * Reads the order once, and does what it asks for. Problems with it are logged and reported.
   *
   * @returns the revision of the order that was read
   * @throws {ServerError} if the store does not answer
   */
  async look(signal: AbortSignal): Promise<number | undefined> {
    const stored = await this.store.order();
    if (stored === undefined) return undefined;
    const { bytes, revision } = stored;
    const order = this.#accept(bytes);
    if (order === undefined) return revision;
    this.#last = order;
    const isNew = !equals(this.inbox.order() ?? new Uint8Array(), bytes);
    if (isNew) this.inbox.saveOrder(bytes.slice());
    if (isNew || this.#handedOverAt === undefined) this.#handOver();
    await this.#fetch(order, signal);
    return revision;
  }

  /** Sends the box's report if it is another than the last one. */
  async sendReport(): Promise<void> {
    this.#remind();
    const { report } = this;
    if (report === undefined) return;
    const { at: _, ...facts } = report;
    const text = JSON.stringify(facts);
    if (text === this.#sent) return;
    await this.store.report(this.settings.box, encodeReport(report));
    this.#sent = text;
  }

  /**
   * What the box has to say about the order that it read last; `undefined` if there is none. It is the
   * installing process's report, unless that knows less about the order than this one.
   */
  get report(): BoxReport | undefined {
    const installed = this.outbox.read(this.settings.box);
    const own = this.#own;
    if (own === undefined) return installed;
    if (own.state === "failed" || own.state === "refused" || installed === undefined) return own;
    return installed.sequence >= own.sequence ? installed : own;
  }

  /** Whether the box has nothing more to do about the order that it read last. */
  isSettled(): boolean {
    const { report } = this;
    return report === undefined || (report.state !== "fetching" && report.state !== "installing" &&
      (report.sequence === this.#last?.sequence || report.state === "refused"));
  }

  #accept(envelope: Uint8Array): Order | undefined {
    const { keys, fleet } = this.settings;
    try {
      const order = openOrder(envelope, keys, fleet, this.store.address);
      acceptOrder(this.inbox.seenPath, order);
      if (this.#own?.state === "refused") this.#own = undefined;
      return order;
    } catch (error) {
      if (!(error instanceof BadInputError)) throw error;
      this.#say("refused", error, this.#last);
      return undefined;
    }
  }

  async #fetch(order: Order, signal: AbortSignal): Promise<void> {
    const { maxBytes } = this.settings;
    const { target } = order;
    if (target === null) return this.inbox.keepPieces(new Set());
    const id = releaseId(target);
    const last = this.outbox.read(this.settings.box);
    const about = last?.release === id ? last : undefined;
    if (about !== undefined && hasDecided(about) && about.state !== "failed") {
      this.#own = undefined;
      return this.inbox.keepPieces(new Set());
    }
    if (positionOf(this.settings.box, id) >= order.open) {
      return this.#say("waiting", undefined, order);
    }
    const isTimeAgain = about?.state === "failed" &&
      Date.now() - (this.#handedOverAt ?? 0) > this.settings.retryMs;
    if (this.inbox.ready() === order.sequence && !isTimeAgain) return;
    this.#say("fetching", undefined, order);
    await this.sendReport().catch(() => {}); // the fetch tells whether the store answers
    try {
      this.inbox.keepPieces(piecesOf(target));
      await fetchRelease(this.store, this.inbox, target, { maxBytes, signal });
    } catch (error) {
      if (!(error instanceof BadInputError || error instanceof StorageError)) throw error;
      return this.#say("failed", error, order);
    }
    this.#own = undefined;
    this.inbox.markReady(order.sequence);
    this.#handOver();
  }

  /** The installing process may have missed it: it was ending, or its unit did not see the inbox yet. */
  #remind(): void {
    const order = this.#last;
    if (order === undefined || this.#handedOverAt === undefined) return;
    if (Date.now() - this.#handedOverAt < REMIND_MS) return;
    if (this.outbox.read(this.settings.box)?.sequence !== order.sequence) this.#handOver();
  }

  #handOver(): void {
    this.#handedOverAt = Date.now();
    this.inbox.handOver();
    this.onHandover();
  }

  #say(state: BoxState, error: GraftError | undefined, order: Order | undefined): void {
    const { box } = this.settings;
    const why = error?.worded(this.settings.nameParameter ?? asProperty);
    if (why !== undefined && why !== this.#own?.why) this.log("error", why, { STEP: state });
    const target = order?.target ?? null;
    this.#own = {
      ...{ box, state, why },
      sequence: order?.sequence ?? 0,
      release: target === null || state === "refused" ? null : releaseId(target),
      inUse: this.outbox.read(box)?.inUse ?? "base",
      at: new Date().toISOString(),
      version: VERSION,
    };
  }
}
