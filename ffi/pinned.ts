/** Ownership of a C object that a run in another thread may still be using. */

/** Something that is released when it has been disposed of and no run needs it any more. */
export abstract class Pinned implements Disposable {
  #pins = 0;
  #disposed = false;

  /** @param what it is, for errors */
  constructor(readonly what: string) {}

  /** Whether it was disposed of. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Keeps it alive until {@linkcode unpin}. */
  pin(): void {
    this.alive();
    this.#pins++;
  }

  unpin(): void {
    if (--this.#pins === 0 && this.#disposed) this.release();
  }

  /** Releases it, now or when its last run ends. Further calls do nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#pins === 0) this.release();
  }

  /** @throws {ReferenceError} after it was disposed of */
  protected alive(): void {
    if (this.#disposed) {
      throw new ReferenceError(`The ${this.what} was used after it was disposed of`);
    }
  }

  /** Frees what it owns; called once. */
  protected abstract release(): void;
}

/** What a stretch of work keeps alive: each once, however often it is named. */
export class Pins implements Disposable {
  readonly #held = new Set<Pinned>();

  /** @throws {ReferenceError} where it was disposed of */
  hold(one: Pinned): void {
    if (this.#held.has(one)) return;
    one.pin();
    this.#held.add(one);
  }

  [Symbol.dispose](): void {
    for (const one of this.#held) one.unpin();
    this.#held.clear();
  }
}
