/** Network failures that may not occur again, and the policy of retries. */
import { HubError } from "../errors.ts";

/** A failure that may not occur at the next try. Its message gives the reason, without secrets. */
export class Transient extends Error {
  override name = "Transient";
  /** @param retryAfterMs wait that the hub requests */
  constructor(message: string, readonly retryAfterMs?: number) {
    super(message);
  }
}

/** Tries after the first, without a byte in between. */
const MOST_RETRIES = 5;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** Longest wait that the hub may request. */
const LONGEST_RETRY_AFTER_MS = 120_000;

/** Waits for some time, or until the signal fires: then its reason is thrown. */
export type Pause = (ms: number, signal?: AbortSignal) => Promise<void>;

/** Counts failures in a row and waits longer after each. */
export class Patience {
  #failures = 0;

  /**
   * @param what name of the operation, for messages
   * @param onRetry called before each wait
   */
  constructor(
    readonly what: string,
    readonly pause: Pause,
    readonly onRetry: (line: string) => void,
    readonly signal?: AbortSignal,
  ) {}

  /** Resets the count after progress. */
  renew(): void {
    this.#failures = 0;
  }

  /**
   * Waits until the next try is due.
   *
   * @throws {HubError} if there is no next try: too many failures, or too long a wait
   * @throws the error itself if it is not {@linkcode Transient}
   */
  async after(error: unknown): Promise<void> {
    if (!(error instanceof Transient)) throw error;
    const { message, retryAfterMs } = error;
    if (retryAfterMs !== undefined && retryAfterMs > LONGEST_RETRY_AFTER_MS) {
      throw new HubError(
        `Cannot get ${this.what}: ${message}, and the hub asks to wait for ` +
          `${Math.ceil(retryAfterMs / 1000)} s: try again then; what was downloaded is kept`,
      );
    }
    if (++this.#failures > MOST_RETRIES) {
      throw new HubError(
        `Cannot get ${this.what}: ${message}; tried ${this.#failures} times: check the network and ` +
          "HF_ENDPOINT and try again; what was downloaded is kept",
      );
    }
    const pauseMs = retryAfterMs ??
      Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1));
    this.onRetry(`${this.what}: ${message}; trying again in ${(pauseMs / 1000).toFixed(1)} s`);
    await this.pause(pauseMs, this.signal);
  }
}

/** `Retry-After` in milliseconds: seconds or a date. Source: RFC 9110, section 10.2.3. */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
