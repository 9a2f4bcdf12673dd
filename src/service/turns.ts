/** Work that is done one piece after another, with a bound on how much may wait. */

export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** @param most pieces of work that may be there at a time, the one in work included */
  constructor(readonly most: number) {}

  /** Whether no more work is taken. */
  get full(): boolean {
    return this.#waiting >= this.most;
  }

  /** Does a piece of work when those before it have ended. */
  take<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const turn = this.#last.then(work).finally(() => this.#waiting--);
    this.#last = turn.catch(() => {}); // its own caller is told
    return turn;
  }
}
