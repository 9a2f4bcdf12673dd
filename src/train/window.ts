/** Sums over the steps between two reports, with a clock that leaves out everything but steps. */

/** Sums of one step. */
interface StepSums {
  readonly lossSum: number;
  readonly targetCount: number;
  readonly tokens: number;
}

export class ReportWindow {
  readonly #began = performance.now();
  #startedAt = 0;
  #elapsedMs = 0;
  #waitedBefore = 0;
  #waited: number | undefined;
  #lossSum = 0;
  #targetCount = 0;
  #tokens = 0;
  #gradNorm = 0;

  /**
   * A step begins.
   *
   * @param waited seconds spent waiting for other processes so far, if there are any
   */
  start(waited = 0): void {
    this.#startedAt = performance.now();
    this.#waitedBefore = waited;
  }

  /** The step has ended, whether it was taken or not. */
  stop(waited?: number): void {
    this.#elapsedMs += performance.now() - this.#startedAt;
    if (waited !== undefined) this.#waited = (this.#waited ?? 0) + waited - this.#waitedBefore;
  }

  /** Counts a step that was taken. */
  add({ lossSum, targetCount, tokens }: StepSums, gradNorm: number): void {
    this.#lossSum += lossSum;
    this.#targetCount += targetCount;
    this.#tokens += tokens;
    this.#gradNorm = gradNorm;
  }

  /** The means, and starts a new window; `undefined` if no step was taken. */
  take():
    | {
      loss: number;
      gradNorm: number;
      tokensPerSecond: number;
      seconds: number;
      waitShare?: number;
    }
    | undefined {
    const [lossSum, targets, tokens, ms, waited] = [
      this.#lossSum,
      this.#targetCount,
      this.#tokens,
      this.#elapsedMs,
      this.#waited,
    ];
    this.#waited = undefined;
    this.#lossSum =
      this.#targetCount =
      this.#tokens =
      this.#elapsedMs =
        0;
    if (targets === 0) return undefined;
    return {
      loss: lossSum / targets,
      gradNorm: this.#gradNorm,
      tokensPerSecond: tokens / Math.max(ms / 1000, 1e-9),
      seconds: (performance.now() - this.#began) / 1000,
      ...(waited === undefined ? {} : { waitShare: waited / Math.max(ms / 1000, 1e-9) }),
    };
  }
}
