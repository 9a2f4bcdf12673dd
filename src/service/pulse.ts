/** Pings the watchdog as long as the model answers. */

export interface PulseOptions {
  /** Runs a short inference, in its turn; rejects if the model does not answer correctly. */
  readonly probe: () => Promise<void>;
  /** Pings the watchdog. */
  readonly ping: () => void;
  /** Called with the reason for a missing ping, if known. */
  readonly onFault: (error: unknown) => void;
  /** Interval of the timer: a third of the watchdog's time. */
  readonly everyMs: number;
}

/**
 * A timer of the event loop that pings only if an inference has ended since its last run: a request's,
 * or a probe. It does not run if the loop hangs; if an inference hangs, its probe does not end, and no
 * other one begins.
 */
export class Pulse implements Disposable {
  readonly #options: PulseOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #proved = false;
  #probing = false;

  constructor(options: PulseOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), options.everyMs);
  }

  /** Reports that an inference has succeeded. */
  prove(): void {
    this.#proved = true;
  }

  #look(): void {
    const { ping, probe, onFault } = this.#options;
    if (this.#proved) {
      this.#proved = false;
      return ping();
    }
    if (this.#probing) return;
    this.#probing = true;
    probe().then(ping, onFault).finally(() => this.#probing = false);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
