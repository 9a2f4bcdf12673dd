/** Bounds the requests that are in work and waiting. */
import { ApiError } from "./api_error.ts";

/** Seconds that a rejected client should wait. */
const RETRY_AFTER = 1;

export class Admission {
  #inWork = 0;
  #ending = false;
  #idle = Promise.withResolvers<void>();

  /** @param most requests at a time */
  constructor(readonly most: number) {}

  /** Requests in work and waiting. */
  get inWork(): number {
    return this.#inWork;
  }

  /** Whether new requests are refused, because the server ends. */
  get ending(): boolean {
    return this.#ending;
  }

  /**
   * Lets a request in; dispose of it when it is done.
   *
   * @throws {ApiError} 429 if there are too many, 503 if the server ends
   */
  enter(): Disposable {
    if (this.#ending) {
      throw new ApiError(503, "The server is ending: try again once it is back", {
        retryAfter: RETRY_AFTER,
      });
    }
    if (this.#inWork >= this.most) {
      throw new ApiError(429, `${this.most} requests are in work or waiting: try again later`, {
        retryAfter: RETRY_AFTER,
        code: "queue_full",
      });
    }
    this.#inWork++;
    let left = false;
    return {
      [Symbol.dispose]: () => {
        if (left) return;
        left = true;
        this.#inWork--;
        this.#tell();
      },
    };
  }

  /** Refuses new requests from now on; resolves when all others are done. */
  end(): Promise<void> {
    this.#ending = true;
    this.#tell();
    return this.#idle.promise;
  }

  #tell(): void {
    if (this.#ending && this.#inWork === 0) this.#idle.resolve();
  }
}
