/** Chooses what a step keeps and how many sequences it takes at once, so that a run fits a budget. */
import type { PredictedMemory } from "../plan/memory.ts";

/** The question that {@linkcode fitMemory} answers. */
export interface FitQuestion {
  /** Bytes that the process may take. */
  readonly budgetBytes: number;
  /** Sequences of the largest batch. */
  readonly sequences: number;
  /** Bytes of activations to keep if memory allows. */
  readonly keepBytes: number;
  /** Whether less than that may be kept. */
  readonly mayRecompute: boolean;
  /** The memory of a run that computes `sequences` sequences of the largest batch at once. */
  readonly predict: (sequences: number, keepBytes: number) => PredictedMemory;
}

/** A choice and the memory that it takes. */
export interface Fit {
  readonly fits: boolean;
  /** Sequences at once; the gradients of a batch's parts are summed. */
  readonly sequences: number;
  readonly keepBytes: number;
  readonly predicted: PredictedMemory;
}

/** Bisection steps for how much may be kept; each plans a step. */
const KEEP_TRIES = 5;

/**
 * First everything as asked, then less kept, then fewer sequences at once: recomputing costs at most a third
 * of a step's time, while small batches use the processor less well.
 *
 * @returns the smallest choice if nothing fits
 */
export function fitMemory(question: FitQuestion): Fit {
  const { keepBytes, mayRecompute, predict, budgetBytes } = question;
  const choice = (sequences: number, keepBytes: number): Fit => {
    const predicted = predict(sequences, keepBytes);
    return { fits: predicted.peakBytes <= budgetBytes, sequences, keepBytes, predicted };
  };
  let last: Fit | undefined;
  for (let sequences = question.sequences;; sequences = Math.ceil(sequences / 2)) {
    last = choice(sequences, keepBytes);
    if (last.fits) return last;
    if (mayRecompute && keepBytes > 0) {
      const least = last = choice(sequences, 0);
      if (least.fits) return mostKept(least);
    }
    if (sequences === 1) return last;
  }

  /** The choice that keeps the most within the budget. */
  function mostKept(least: Fit): Fit {
    let best = least;
    // What is kept takes no less than its own size: more than this cannot fit.
    let [low, high] = [0, Math.min(keepBytes, budgetBytes - least.predicted.peakBytes)];
    for (let i = 0, keep = high; i < KEEP_TRIES && high > 0; i++, keep = (low + high) / 2) {
      const found = choice(least.sequences, Math.floor(keep));
      if (!found.fits) high = keep;
      else {
        best = found;
        low = keep;
        if (low === high) break;
      }
    }
    return best;
  }
}
