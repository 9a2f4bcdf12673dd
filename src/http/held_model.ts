/** A model that may be replaced while requests use it. */
import type { InferenceModel } from "../tasks/inference_model.ts";

export class HeldModel {
  readonly model: InferenceModel;
  readonly #close: () => void;
  readonly #unused = Promise.withResolvers<void>();
  #users = 0;
  #isRetired = false;
  #isClosed = false;

  /** @param close called when it is retired and no request uses it any more */
  constructor(model: InferenceModel, close: () => void = () => {}) {
    this.model = model;
    this.#close = close;
  }

  /** Keeps the model open until the result is disposed of. */
  hold(): Disposable {
    this.#users++;
    let left = false;
    return {
      [Symbol.dispose]: () => {
        if (left) return;
        left = true;
        this.#users--;
        this.#closeIfUnused();
      },
    };
  }

  /**
   * Closes the model when the requests that hold it are answered; later ones must use another.
   *
   * @returns resolves when it is closed
   */
  retire(): Promise<void> {
    this.#isRetired = true;
    this.#closeIfUnused();
    return this.#unused.promise;
  }

  #closeIfUnused(): void {
    if (!this.#isRetired || this.#users > 0 || this.#isClosed) return;
    this.#isClosed = true;
    this.#close();
    this.#unused.resolve();
  }
}
