/** `graft fleet apply`: does what the newest order says, without a network. */
import { equals } from "@std/bytes/equals";
import { join } from "@std/path";
import { BadInputError, EXIT } from "../../errors.ts";
import { applyOrder } from "../../fleet/box/apply_order.ts";
import { Inbox } from "../../fleet/box/inbox.ts";
import { Outbox } from "../../fleet/box/outbox.ts";
import { ReleaseSteps } from "../../fleet/box/release_steps.ts";
import { acceptOrder } from "../../fleet/box/seen_order.ts";
import { openOrder } from "../../fleet/release/envelope.ts";
import { type Order, releaseId } from "../../fleet/release/order.ts";
import type { BoxReport } from "../../fleet/release/report.ts";
import { ServiceState } from "../../service/state.ts";
import { makeDirectory } from "../../system/durable_files.ts";
import { VERSION } from "../../version.ts";
import { command } from "../command.ts";
import { roundSettings } from "../service/round_settings.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { BOX_FLAGS, boxNameOf, DEFAULT_INBOX, INSTALL_FLAGS, outboxFolder } from "./box_flags.ts";
import { PUBLIC_KEY_FLAG, STORE_FLAGS, trustedKeysOf } from "./fleet_flags.ts";

/** How often a job looks whether another order has come. */
const LOOK_MS = 2000;

export default command({
  name: "fleet apply",
  summary: "Merge, measure, and promote or reject the release that graft fleet follow has fetched",
  flags: {
    ...PUBLIC_KEY_FLAG,
    bucket: { ...STORE_FLAGS.bucket, group: undefined },
    ...BOX_FLAGS,
    ...INSTALL_FLAGS,
  },
  examples: [
    {
      command: "graft fleet apply --public-key fleet.pub --state ./state --inbox ./inbox",
      does: "what graft-apply.service does; after a kill, the same command goes on",
    },
  ],
  needs: ["run"],
  async run({ flags, given, terminal }) {
    const keys = trustedKeysOf(flags);
    const box = boxNameOf(flags);
    const { folder, log, settings, options } = roundSettings(flags, given, terminal);
    const inbox = new Inbox(flags.inbox ?? DEFAULT_INBOX);
    const outbox = new Outbox(outboxFolder(flags));
    using stop = new StopSignal(() => log("notice", "Stopping in order", { EVENT: "stopping" }));
    using state = ServiceState.open(folder);
    makeDirectory(join(folder, "fleet"));
    let last: BoxReport | undefined;
    const write = (report: BoxReport) => {
      last = report;
      outbox.write(report);
    };
    while (!stop.signal.aborted) {
      const [envelope, ready] = [inbox.order(), inbox.ready()];
      if (envelope === undefined) break;
      const read = (bytes: Uint8Array) => openOrder(bytes, keys, flags.bucket, inbox.orderPath);
      let order: Order;
      try {
        order = read(envelope);
        acceptOrder(join(folder, "fleet", "seen"), order);
      } catch (error) {
        if (!(error instanceof BadInputError)) throw error;
        write(refusal(box, outbox.read(box), error));
        throw error;
      }
      using superseded = new Superseded(inbox, envelope, order, read);
      const signal = AbortSignal.any([stop.signal, superseded.signal]);
      const report = await applyOrder(order, {
        ...{ box, state, inbox, options, log },
        steps: (release) => new ReleaseSteps(release, inbox, settings, log, signal),
        onReport: write,
      });
      if (report !== undefined) write(report);
      const isNewest = equals(inbox.order() ?? envelope, envelope) && inbox.ready() === ready;
      if (isNewest && !superseded.signal.aborted) break;
    }
    if (stop.signal.aborted) return EXIT.interrupted;
    terminal.print(last === undefined ? "There is no order yet" : tell(last));
    return EXIT.ok;
  },
});

/** Ends the work on a release as soon as an order names another one. */
class Superseded implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(
    inbox: Inbox,
    envelope: Uint8Array,
    order: Order,
    read: (envelope: Uint8Array) => Order,
  ) {
    const id = (order: Order) => order.target === null ? null : releaseId(order.target);
    this.#timer = setInterval(() => {
      try {
        const now = inbox.order() ?? envelope;
        if (equals(now, envelope)) return;
        const other = read(now);
        if (other.sequence > order.sequence && id(other) !== id(order)) this.#controller.abort();
      } catch {
        // an order that is not valid ends nothing
      }
    }, LOOK_MS);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function refusal(box: string, before: BoxReport | undefined, error: Error): BoxReport {
  const { sequence = 0, inUse = "base" } = before ?? {};
  return {
    ...{ box, sequence, inUse, release: null, state: "refused", why: error.message },
    at: new Date().toISOString(),
    version: VERSION,
  };
}

function tell({ state, inUse, why }: BoxReport): string {
  return `${state}; in use: ${inUse}${why === undefined ? "" : `; ${why}`}`;
}
