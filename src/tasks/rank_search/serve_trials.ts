/** A rank that trains what rank 0 of a search tells it to. */
import type { Communicator } from "../../distributed/communicator.ts";
import type { Line } from "../../distributed/line.ts";
import { worded } from "../../errors.ts";
import { exists, removeDirectory, replaceDirectory } from "../../system/durable_files.ts";
import type { RankSearchResult } from "./result.ts";
import { LocalTrainer, type TrainerMeans, type Trial } from "./train_trial.ts";
import {
  type Answer,
  decodeMessage,
  encodeMessage,
  type Files,
  filesOf,
  type Order,
} from "./trial_messages.ts";

/**
 * Trains trials until the search is over.
 *
 * @param signal asks this rank to end: rank 0 then ends the search
 * @returns what the search found, with paths as rank 0 has them
 * @throws {LostPeerError} if rank 0 is gone
 */
export async function serveTrials(
  ranks: Communicator,
  line: Line,
  means: TrainerMeans,
  signal: AbortSignal,
): Promise<RankSearchResult> {
  const next = async () => decodeMessage<Order>(await line.receive());
  let coming = next();
  while (true) {
    const order = await coming;
    if (order.kind === "end") return order.result;
    coming = next();
    if (order.kind === "stop") continue;
    const ending = new AbortController();
    const training = trained(ranks, line, means, order, AbortSignal.any([signal, ending.signal]));
    // Whatever comes while it trains asks it to stop; the order itself is seen to afterwards.
    coming.then(() => ending.abort(), () => ending.abort());
    const answer = await training;
    line.send(encodeMessage(signal.aborted ? { ...answer, end: "interrupted" } : answer));
  }
}

async function trained(
  ranks: Communicator,
  line: Line,
  means: TrainerMeans,
  { trial, files }: { readonly trial: Trial; readonly files: Files },
  stop: AbortSignal,
): Promise<Answer> {
  const { adapterPath } = trial;
  if (files !== undefined) {
    if (files.size > 0) replaceDirectory(adapterPath, files);
    else if (exists(adapterPath)) removeDirectory(adapterPath);
  }
  // Planning takes long on slow boards, and says nothing.
  line.askPatience(ranks.patience.preparing);
  let isPreparing = true;
  const trainer = new LocalTrainer({
    ...means,
    onEvent(event) {
      if (isPreparing && event.kind === "step") {
        line.askPatience(ranks.patience.working);
        isPreparing = false;
      }
      means.onEvent(event);
    },
  });
  const { end, seconds } = await trainer.train(trial, stop);
  line.askPatience(ranks.patience.preparing);
  const answer = typeof end === "object" && "refused" in end
    ? { refused: worded(end.refused) }
    : end;
  if (files === undefined) return { end: answer, seconds, files };
  const found = filesOf(adapterPath);
  if (exists(adapterPath)) removeDirectory(adapterPath);
  return { end: answer, seconds, files: found };
}
