/** The service's pulse: pings the watchdog for as long as the model answers, and not longer. */

export interface PulseOptions {
  /** Has the model do something small, in its turn; rejects where it does not answer as it should. */
  readonly probe: () => Promise<void>;
  /** Tells the watchdog. */
  readonly ping: () => void;
  /** Told why there is no ping, where that is known. */
  readonly onFault: (error: unknown) => void;
  /** Time between two looks; a third of what the watchdog waits. */
  readonly everyMs: number;
}

/**
 * A timer of the event loop that pings only where an inference has ended since it last looked: one
 * that was asked for, or else a probe. A loop that hangs does not look; an inference that hangs
 * leaves the probe without an end, and another one is not begun before.
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

  /** An inference has just ended well. */
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
