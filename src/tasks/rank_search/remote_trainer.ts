/** Trials that another rank of the job trains. */
import { InterruptedError } from "../../errors.ts";
import type { Line } from "../../distributed/line.ts";
import { replaceDirectory } from "../../system/durable_files.ts";
import type { Trained, Trial, TrialTrainer } from "./train_trial.ts";
import { type Answer, decodeMessage, encodeMessage, filesOf } from "./trial_messages.ts";

/** Sends trials to a rank, and puts what comes back where this process would have put it. */
export class RemoteTrainer implements TrialTrainer {
  /**
   * @param line to a rank that serves trials
   * @param sharesFolder whether that rank sees the search's folder
   */
  constructor(readonly line: Line, readonly sharesFolder: boolean) {}

  get rank(): number {
    return this.line.rank;
  }

  async train(trial: Trial, stop: AbortSignal): Promise<Trained> {
    const { adapterPath } = trial;
    const files = this.sharesFolder ? undefined : filesOf(adapterPath);
    this.line.send(encodeMessage({ kind: "train", trial, files }));
    const tell = () => this.line.send(encodeMessage({ kind: "stop" }));
    stop.addEventListener("abort", tell);
    if (stop.aborted) tell();
    try {
      const { end, seconds, files } = decodeMessage<Answer>(await this.line.receive());
      if (files !== undefined) replaceDirectory(adapterPath, files);
      if (end === "interrupted") throw new InterruptedError(`Rank ${this.rank} was asked to end`);
      return { end, seconds };
    } finally {
      stop.removeEventListener("abort", tell);
    }
  }
}
