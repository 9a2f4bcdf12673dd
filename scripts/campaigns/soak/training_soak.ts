/** A training of many epochs, batches of all shapes. */
import { startGraft } from "../../../tests/helpers/graft.ts";
import { type Figures, type Growth, growthOf, lookAt } from "./process_figures.ts";

export interface TrainingSoak extends Growth {
  /** Steps that the last report tells of. */
  readonly steps: number;
}

/** @param flags of `graft train`, without its length */
export async function soakTraining(
  flags: readonly string[],
  minutes: number,
): Promise<TrainingSoak> {
  const child = startGraft("train", ...flags, "--iters", "10000000", "--steps-per-report", "20");
  const end = performance.now() + minutes * 60_000;
  let [log, ended] = ["", false];
  const reading = (async () => {
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      log = (log + chunk).slice(-10_000);
    }
    ended = true;
  })();
  const looks: Figures[] = [];
  await lookAt(child.pid, () => !ended && performance.now() < end, looks);
  if (ended) throw new Error(`The training ended: ${log}`);
  child.kill("SIGINT");
  await Promise.all([reading, child.status]);
  const steps = [...log.matchAll(/step (\d+)\/\d+:/g)].at(-1)?.[1];
  return { steps: Number(steps ?? 0), ...growthOf(looks) };
}
