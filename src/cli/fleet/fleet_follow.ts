/** `graft fleet follow`: keeps a box up to date with its fleet's order. */
import { parseDuration } from "../../config/duration.ts";
import { parseSize } from "../../config/size.ts";
import { AccessError, EXIT, ServerError, StorageError } from "../../errors.ts";
import { Follower } from "../../fleet/box/follower.ts";
import { Inbox } from "../../fleet/box/inbox.ts";
import { Outbox } from "../../fleet/box/outbox.ts";
import type { BoxReport, BoxState } from "../../fleet/release/report.ts";
import type { FleetStore } from "../../fleet/store/store.ts";
import { openLog } from "../../system/journal_log.ts";
import { command } from "../command.ts";
import { boolean, inGroup, text } from "../flags.ts";
import { wordsOf } from "../flag_words.ts";
import { sleep } from "../../system/sleep.ts";
import { asCommandLine } from "../parameter_names.ts";
import { StopSignal } from "../terminal/stop_signal.ts";
import { Applier } from "./applier.ts";
import { BOX_FLAGS, boxNameOf, DEFAULT_INBOX, INSTALL_FLAGS, outboxFolder } from "./box_flags.ts";
import { PUBLIC_KEY_FLAG, STORE_FLAGS, storeOf, trustedKeysOf } from "./fleet_flags.ts";

/** How often the installing process's report is looked at. */
const REPORT_MS = 1000;
/** Shortest time after which a server that does not answer is asked again; up to twice that, by chance. */
const AGAIN_MS = 5000;
/** Time after which a release that could not be installed is tried again. */
const RETRY_MS = 600_000;

/** The box does not do what the order says. */
const NOT_DONE: ReadonlySet<BoxState> = new Set(["rejected", "failed", "refused"]);

export default command({
  name: "fleet follow",
  summary: "Fetch what the fleet is given, verify it, and report what became of it",
  flags: {
    ...PUBLIC_KEY_FLAG,
    ...BOX_FLAGS,
    maxSize: text("Largest release that is fetched", { default: "8G", placeholder: "SIZE" }),
    interval: text("How often to look, besides being told of a new order", {
      default: "1m",
      placeholder: "DURATION",
    }),
    once: boolean("End when the box has done what the order says; with 1 if it does not", {
      default: false,
    }),
    apply: boolean("Start graft fleet apply when there is something to do, as its unit does", {
      default: false,
    }),
    ...STORE_FLAGS,
    ...inGroup(INSTALL_FLAGS, "Installing, with --apply"),
  },
  examples: [
    {
      command: "graft fleet follow --public-key fleet.pub --server tls://nats.example.com --apply",
      does: "follows the fleet without systemd",
    },
    {
      command:
        "graft fleet follow --public-key fleet.pub --server file:///media/stick --apply --once",
      does: "installs what is on a stick",
    },
  ],
  needs: ["net", "run"],
  async run({ flags, given, terminal }) {
    const keys = trustedKeysOf(flags);
    const box = boxNameOf(flags);
    const settings = {
      ...{ box, keys, fleet: flags.bucket, retryMs: RETRY_MS },
      maxBytes: parseSize(flags.maxSize, "maxSize"),
      nameParameter: asCommandLine,
    };
    const intervalMs = 1000 * parseDuration(flags.interval, "interval");
    const log = openLog((line) => terminal.note(line));
    const inbox = new Inbox(flags.inbox ?? Deno.env.get("STATE_DIRECTORY") ?? DEFAULT_INBOX);
    const outbox = new Outbox(outboxFolder(flags));
    using stop = new StopSignal(() => log("notice", "Stopping in order", { EVENT: "stopping" }));
    const shared = ["publicKey", "bucket", "box", "inbox", "outbox", ...Object.keys(INSTALL_FLAGS)];
    const words = wordsOf({ ...flags, box, inbox: inbox.folder }, [
      ...shared.filter((key) => given.has(key)),
      ...["box", "inbox"].filter((key) => !given.has(key)),
    ]);
    await using applier = new Applier(words, log);
    await using store = await storeOf(flags, `graft ${box}`, !flags.once);
    const follower = new Follower(
      { store, inbox, outbox },
      settings,
      log,
      () => flags.apply && applier.start(),
    );
    log("notice", `Box ${box} follows ${store.address}`, { EVENT: "ready" });
    if (flags.once) {
      await once(follower, applier, stop.signal);
      const { report } = follower;
      if (report !== undefined) terminal.print(told(report));
      if (stop.signal.aborted) return EXIT.interrupted;
      return report !== undefined && NOT_DONE.has(report.state) ? EXIT.refused : EXIT.ok;
    }
    await Promise.all([
      looks(follower, store, new Problems(log), intervalMs, stop.signal),
      reports(follower, new Problems(log), stop.signal),
    ]);
    return stop.signal.aborted ? EXIT.interrupted : EXIT.ok;
  },
});

const told = ({ box, inUse, state, why }: BoxReport) =>
  `${box} uses ${inUse}: ${state}${why === undefined ? "" : `, ${why}`}`;

/** Looks, installs and reports, and is done with it. */
async function once(follower: Follower, applier: Applier, signal: AbortSignal): Promise<void> {
  await follower.look(signal);
  while (!signal.aborted) {
    await applier.ended();
    await follower.sendReport();
    if (!applier.isUsed || follower.isSettled()) return;
    applier.start();
  }
}

async function looks(
  follower: Follower,
  store: FleetStore,
  problems: Problems,
  intervalMs: number,
  signal: AbortSignal,
): Promise<void> {
  let revision: number | undefined;
  while (!signal.aborted) {
    const isRead = await problems.survive(async () => {
      revision = await follower.look(signal);
    }, signal);
    if (isRead) await store.changed(revision, intervalMs, signal);
    else await sleep(AGAIN_MS * (1 + Math.random()), signal);
  }
}

async function reports(
  follower: Follower,
  problems: Problems,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const isSent = await problems.survive(() => follower.sendReport(), signal);
    await sleep(isSent ? REPORT_MS : AGAIN_MS * (1 + Math.random()), signal);
  }
}

/** Logs what a later try may get over, each problem once. */
class Problems {
  #last: string | undefined;

  constructor(readonly log: ReturnType<typeof openLog>) {}

  /** @returns whether there was none */
  async survive(action: () => Promise<void>, signal: AbortSignal): Promise<boolean> {
    try {
      await action();
      this.#last = undefined;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const isKnown = error instanceof ServerError || error instanceof AccessError ||
        error instanceof StorageError;
      if (!isKnown) throw error;
      const why = error.worded(asCommandLine);
      if (why !== this.#last) this.log("warning", why, { STEP: "trying again" });
      this.#last = why;
      return false;
    }
  }
}
