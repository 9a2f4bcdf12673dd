/** Gathers calls that come while others are at work, so that they are done together. */

interface Call<Input, Output> {
  readonly input: Input;
  readonly signal?: AbortSignal;
  resolve(output: Output): void;
  reject(error: unknown): void;
}

export class Gathered<Input, Output> {
  readonly #work: (inputs: readonly Input[]) => Promise<readonly Output[]>;
  readonly #most: number;
  readonly #waiting: Call<Input, Output>[] = [];
  #working = false;

  /**
   * @param work does several at once, one result for each
   * @param most done at once
   */
  constructor(work: (inputs: readonly Input[]) => Promise<readonly Output[]>, most: number) {
    this.#work = work;
    this.#most = most;
  }

  /** Does one, together with others that wait; if `signal` is aborted before, it rejects. */
  call(input: Input, signal?: AbortSignal): Promise<Output> {
    const { promise, resolve, reject } = Promise.withResolvers<Output>();
    this.#waiting.push({ input, signal, resolve, reject });
    void this.#next();
    return promise;
  }

  async #next(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    // Calls of the same turn are done together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const calls = this.#waiting.splice(0, this.#most);
      for (const { signal, reject } of calls) if (signal?.aborted) reject(signal.reason);
      await this.#together(calls.filter(({ signal }) => signal?.aborted !== true));
    }
    this.#working = false;
  }

  async #together(calls: readonly Call<Input, Output>[]): Promise<void> {
    if (calls.length === 0) return;
    try {
      const outputs = await this.#work(calls.map(({ input }) => input));
      calls.forEach(({ resolve }, i) => resolve(outputs[i]));
    } catch (error) {
      if (calls.length === 1) return calls[0].reject(error);
      // One of them may be at fault, and the others should not suffer.
      for (const call of calls) await this.#together([call]);
    }
  }
}
