/** Runs a fine-tuning from the command line: a signal ends it in order, its end is the exit code. */
import { EXIT } from "../../errors.ts";
import type { FineTuneResult } from "../../finetune/mod.ts";
import type { Terminal } from "../terminal/output.ts";
import { StopSignal } from "../terminal/stop_signal.ts";

/** What can be run, as a `Trainer`. */
export interface Runnable {
  run(options: { readonly signal: AbortSignal; readonly test?: boolean }): Promise<FineTuneResult>;
}

/**
 * @param test whether to evaluate on the test data; default: as its configuration says
 * @returns the exit code
 */
export async function runTrainer(
  trainer: Runnable,
  terminal: Terminal,
  test?: boolean,
): Promise<number> {
  using stop = new StopSignal(() =>
    terminal.note("Stopping after this batch; again to stop at once")
  );
  const { training } = await trainer.run({ signal: stop.signal, test });
  switch (training?.end) {
    case "interrupted":
      return EXIT.interrupted;
    case "diverged":
      return EXIT.refused;
    default:
      return EXIT.ok;
  }
}
