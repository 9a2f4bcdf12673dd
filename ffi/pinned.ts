/** Ownership of C objects that a run in another thread may still use. */

/** An object that is released when it has been disposed of and no run needs it any more. */
export abstract class Pinned implements Disposable {
  #pins = 0;
  #disposed = false;

  /** @param what its description, for errors */
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

  /** Frees its resources; called once. */
  protected abstract release(): void;
}

/** Objects that a piece of work keeps alive, each pinned once. */
export class Pins implements Disposable {
  readonly #held = new Set<Pinned>();

  /** @throws {ReferenceError} if it was disposed of */
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
