/** The side of the network: takes messages, hands tasks over, sends replies. It never sees a row. */
import { BadInputError } from "../../errors.ts";
import type { Log } from "../../system/journal_log.ts";
import { sleep, sleepUnlessAborted } from "../../system/sleep.ts";
import { RunEndedError } from "../flower/fleet_error.ts";
import type { FleetNode } from "../flower/fleet_node.ts";
import type { MessageHeader, ReplyError } from "../flower/message.ts";
import type { WantedRecords } from "../flower/pull_records.ts";
import type { Records } from "../flower/records.ts";
import { refusal } from "./run_task.ts";
import type { FleetReply, Spool, SpooledReply } from "./spool.ts";
import { readTask } from "./task.ts";

export interface ServeRoundsOptions {
  readonly spool: Spool;
  readonly node: FleetNode;
  /** Most bytes of an adapter that may come. */
  readonly mostBytes: number;
  /**
   * Works on the task in the spool until it has replied or cannot; absent if another unit does.
   *
   * @param signal ends it in order
   */
  readonly work?: (signal: AbortSignal) => Promise<void>;
  readonly log: Log;
  /** Ends the rounds; a task under way stays in the spool. */
  readonly signal: AbortSignal;
}

/** Milliseconds between looks for a reply. */
const LOOK_MS = 300;
/** A reply leaves at the latest this share of a message's time before its end, and at most as many seconds. */
const [MARGIN_SHARE, LONGEST_MARGIN] = [0.1, 30];

/** What a round's message holds. */
const WANTED: WantedRecords = {
  configs: ["config", "layout"],
  arrays: new Map([["adapter", ["adapter"]]]),
};

/** Serves rounds until the signal comes. */
export async function serveRounds(options: ServeRoundsOptions): Promise<void> {
  const { spool, node, signal } = options;
  while (!signal.aborted) {
    try {
      if (spool.hasReply()) await sendReply(options);
      else if (spool.hasTask()) await untilReplied(options);
      else if (!await takeMessage(options)) await sleepUnlessAborted(node.pauseMs(), signal);
    } catch (error) {
      if (signal.aborted) break;
      if (!(error instanceof RunEndedError)) throw error;
    }
  }
  await node.leave({ tell: !spool.hasTask() && !spool.hasReply() });
}

/** Takes the next message; returns whether there was one. */
async function takeMessage(
  { spool, node, mostBytes, log, signal }: ServeRoundsOptions,
): Promise<boolean> {
  let header: MessageHeader | undefined;
  try {
    header = await node.receive(signal);
  } catch (error) {
    if (!(error instanceof BadInputError)) throw error;
    log("warning", error.message);
    return true;
  }
  if (header === undefined) return false;
  try {
    const { configs, arrays } = await node.fetch(header, WANTED, mostBytes, signal);
    const [config, layout] = [configs.get("config") ?? new Map(), configs.get("layout")];
    const adapter = arrays.get("adapter")?.get("adapter");
    const task = readTask(header.type, config, layout, adapter?.length ?? 0);
    log("info", `Round ${task.round}: ${task.kind}, ${task.aggregation}`, {
      ROUND: task.round,
      STEP: task.kind,
    });
    spool.putTask({ header, config, layout, adapter });
  } catch (error) {
    if (error instanceof RunEndedError) return true;
    if (!(error instanceof BadInputError)) throw error;
    log("warning", `A message cannot be answered: ${error.message}`);
    putRefusal(spool, header, refusal("notUnderstood", error.message));
  }
  await node.confirm(header, signal).catch((error) => {
    if (!(error instanceof RunEndedError)) throw error;
  });
  return true;
}

function putRefusal(spool: Spool, header: MessageHeader, reply: FleetReply): void {
  spool.putReply({ ...reply, header, at: Date.now() / 1000, seconds: 0 });
}

/** Waits until the task has a reply, or its time is over. */
async function untilReplied(options: ServeRoundsOptions): Promise<void> {
  const { spool, signal, log, work } = options;
  const header = headerOfTask(options);
  if (header === undefined) return;
  const now = Date.now() / 1000;
  const margin = Math.min(LONGEST_MARGIN, MARGIN_SHARE * Math.max(0, header.expires - now));
  const late = AbortSignal.timeout(Math.max(0, 1000 * (header.expires - margin - now)));
  const ending = AbortSignal.any([signal, late]);
  const working = work?.(ending);
  try {
    while (!spool.hasReply() && !ending.aborted) {
      await sleep(LOOK_MS, ending);
    }
  } finally {
    await working;
  }
  if (!late.aborted || spool.hasReply()) return;
  log("warning", "A task was not done in its time");
  spool.removeTask();
  putRefusal(
    spool,
    header,
    refusal("tooLate", "The box did not finish before the message's time was over"),
  );
}

/** Of the task in the spool; one that is damaged is removed. */
function headerOfTask({ spool, log }: ServeRoundsOptions): MessageHeader | undefined {
  try {
    return spool.readTask()?.header;
  } catch (error) {
    if (!(error instanceof BadInputError)) throw error;
    log("error", error.message);
    spool.removeTask();
  }
}

/** Sends the reply in the spool. */
async function sendReply({ spool, node, log, signal }: ServeRoundsOptions): Promise<void> {
  const reply = spool.readReply()!;
  const { header, at, seconds } = reply;
  const left = header.expires - Date.now() / 1000;
  try {
    if (left <= 0) throw new RunEndedError("push-messages");
    const patience = AbortSignal.any([signal, AbortSignal.timeout(1000 * left)]);
    await node.reply(header, contentOf(reply), { made: at, seconds }, patience);
    log("info", reply.error === undefined ? "Replied" : `Replied: ${reply.error.reason}`);
  } catch (error) {
    if (signal.aborted) return;
    const isLate = Date.now() / 1000 >= header.expires;
    if (!isLate && !(error instanceof RunEndedError)) throw error;
    log("info", "Nobody waits for a reply any longer: it is dropped");
  }
  // A task that has been withdrawn may have replied at the same moment.
  spool.removeReply();
}

function contentOf({ error, layout, adapter, metrics }: SpooledReply): Records | ReplyError {
  if (error !== undefined) return error;
  return {
    configs: layout === undefined || layout.size === 0 ? new Map() : new Map([["layout", layout]]),
    arrays: adapter === undefined
      ? new Map()
      : new Map([["adapter", new Map([["adapter", adapter]])]]),
    metrics: new Map([["metrics", metrics ?? new Map()]]),
  };
}
