/** The training of one trial of a search, from where it was to a step. */
import { type Message, RefusedError } from "../../errors.ts";
import { type FineTuneEvent, Trainer } from "../../finetune/mod.ts";
import { checkpointsOf } from "../../finetune/saved_config.ts";
import type { Candidate } from "../../search/candidate.ts";
import type { Validated } from "../../search/metric.ts";
import { hasCheckpoints } from "../../train/checkpoint_files.ts";
import { candidateConfig } from "./candidate_config.ts";
import type { RankSearchConfig } from "./settings.ts";
import { TrainingClock } from "./training_clock.ts";
import { validationOf } from "./trial_metrics.ts";

/** What is to be trained. */
export interface Trial {
  readonly candidate: Candidate;
  readonly seed: number;
  /** Steps after which it is measured. */
  readonly steps: number;
  /** Its folder, with its checkpoints if it was trained before. */
  readonly adapterPath: string;
}

/** What came of it. */
export interface Trained {
  /** What the validation found, or why there is nothing to validate. */
  readonly end:
    | Validated
    | { readonly failed: string }
    | { readonly refused: Message }
    | "out of time";
  /** Seconds that its steps took. */
  readonly seconds: number;
}

/** Trains trials, one at a time. */
export interface TrialTrainer {
  /** Its number in the job; 0 is this process. */
  readonly rank: number;
  /**
   * @param stop ends the training in order: it is then out of time, and its folder has a checkpoint
   * @throws {StorageError} if something cannot be written
   */
  train(trial: Trial, stop: AbortSignal): Promise<Trained>;
}

/** What all trainings of a search have in common. */
export interface TrainerMeans {
  readonly config: RankSearchConfig;
  /** Steps of a whole training. */
  readonly totalSteps: number;
  readonly onEvent: (event: FineTuneEvent) => void;
}

/** Trains in this process. */
export class LocalTrainer implements TrialTrainer {
  readonly rank = 0;
  constructor(readonly means: TrainerMeans) {}

  async train(trial: Trial, stop: AbortSignal): Promise<Trained> {
    const clock = new TrainingClock();
    const end = await this.#train(trial, stop, clock);
    return { end, seconds: clock.seconds };
  }

  async #train(trial: Trial, stop: AbortSignal, clock: TrainingClock): Promise<Trained["end"]> {
    const { adapterPath, steps, candidate } = trial;
    const config = candidateConfig(this.means.config, candidate);
    let resume = hasCheckpoints(checkpointsOf({ adapterPath }));
    while (true) {
      try {
        const training = await this.#fineTune(config, trial, resume, stop, clock);
        if (training.end === "interrupted") return "out of time";
        if (training.end === "diverged") return { failed: `it diverged: ${training.reason}` };
        const found = validationOf(adapterPath, training.step, config.loadBest);
        if (found !== undefined) return { loss: found.loss, ...accuracyOf(found) };
      } catch (error) {
        if (error instanceof RefusedError) return { refused: (name) => error.worded(name) };
        if (stop.aborted && error === stop.reason) return "out of time";
        throw error;
      }
      if (!resume) throw new Error(`${adapterPath} has no evaluation of step ${steps}`);
      // A kill came after the last checkpoint and a power loss took the evaluation: train again.
      resume = false;
    }
  }

  async #fineTune(
    config: ReturnType<typeof candidateConfig>,
    { adapterPath, seed, steps }: Trial,
    resume: boolean,
    signal: AbortSignal,
    clock: TrainingClock,
  ) {
    const { totalSteps, onEvent } = this.means;
    using trainer = await Trainer.open({
      ...config,
      ...{ adapterPath, seed, resume, overwrite: !resume, keepCheckpoints: 1 },
      // The learning rate falls as in a whole training.
      ...{ epochs: undefined, iters: steps, lrDecaySteps: config.lrDecaySteps ?? totalSteps },
    }, {
      signal,
      alone: true,
      onEvent(event) {
        clock.take(event);
        onEvent(event);
      },
    });
    return (await trainer.run({ signal, test: false })).training!;
  }
}

/** The accuracy of a validation, if it has one. */
export const accuracyOf = ({ accuracy }: { readonly accuracy?: number }) =>
  accuracy === undefined ? {} : { accuracy };
