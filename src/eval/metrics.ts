/** Figures of merit from predictions. */
import { argmax } from "../statistics.ts";

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
    const best = argmax(logits);
    let sum = 0;
    for (let c = 0; c < this.classes; c++) sum += Math.exp(logits[c] - logits[best]);
    const loss = Math.log(sum) + logits[best] - logits[label];
    this.#lossSum += loss;
    this.#predicted[best]++;
    this.#actual[label]++;
    if (best === label) this.#truePositives[label]++;
    this.#count++;
    return loss;
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
