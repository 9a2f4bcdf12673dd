/** Figures of merit from predictions. */
import { argmax } from "../statistics.ts";

/** What a classifier makes of an example. */
export interface Prediction {
  /** The class with the highest score. */
  readonly predicted: number;
  /** The right class. */
  readonly label: number;
  /** Cross-entropy in nats. */
  readonly loss: number;
}

/**
 * The prediction that an example's scores are.
 *
 * @param logits [classes]
 * @param label the right class
 */
export function predictionOf(logits: ArrayLike<number>, label: number): Prediction {
  const predicted = argmax(logits);
  let sum = 0;
  for (let c = 0; c < logits.length; c++) sum += Math.exp(logits[c] - logits[predicted]);
  return { predicted, label, loss: Math.log(sum) + logits[predicted] - logits[label] };
}

/** Counts over an evaluation of a classifier. */
export class ClassificationMetrics {
  readonly #truePositives: number[];
  readonly #predicted: number[];
  readonly #actual: number[];
  #lossSum = 0;
  #count = 0;

  constructor(readonly classes: number) {
    const zeros = () => new Array<number>(classes).fill(0);
    [this.#truePositives, this.#predicted, this.#actual] = [zeros(), zeros(), zeros()];
  }

  /**
   * Adds one example and returns its loss.
   *
   * @param logits [classes]
   * @param label the right class
   */
  add(logits: ArrayLike<number>, label: number): number {
    const found = predictionOf(logits, label);
    this.addPrediction(found);
    return found.loss;
  }

  /** Adds one example. */
  addPrediction({ predicted, label, loss }: Prediction): void {
    this.#lossSum += loss;
    this.#predicted[predicted]++;
    this.#actual[label]++;
    if (predicted === label) this.#truePositives[label]++;
    this.#count++;
  }

  get count(): number {
    return this.#count;
  }

  /** Mean cross-entropy in nats. */
  get loss(): number {
    return this.#lossSum / this.#count;
  }

  get accuracy(): number {
    return this.#truePositives.reduce((a, c) => a + c, 0) / this.#count;
  }

  /** Mean F1 over the classes that occur, predicted or actual, each counting alike. */
  get macroF1(): number {
    const scores: number[] = [];
    for (let c = 0; c < this.classes; c++) {
      const total = this.#predicted[c] + this.#actual[c];
      if (total > 0) scores.push(2 * this.#truePositives[c] / total);
    }
    return scores.reduce((a, c) => a + c, 0) / scores.length;
  }
}
