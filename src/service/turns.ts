/** Work that is done one piece after another, with bounds on how much may wait. */
import type { User } from "./clients.ts";

export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  readonly #ofUser = new Map<User, number>();

  /**
   * @param most pieces of work that may be there at a time, the one in work included
   * @param mostEach those of one user, so that others find room
   */
  constructor(readonly most: number, readonly mostEach: number) {}

  /** Whether no more work of a user is taken. */
  full(user: User): boolean {
    return this.#waiting >= this.most || (this.#ofUser.get(user) ?? 0) >= this.mostEach;
  }

  /** Does a user's piece of work when those before it have ended. */
  async takeFor<T>(user: User, work: () => Promise<T>): Promise<T> {
    const count = (more: number) => this.#ofUser.set(user, (this.#ofUser.get(user) ?? 0) + more);
    count(1);
    try {
      return await this.take(work);
    } finally {
      if (count(-1).get(user) === 0) this.#ofUser.delete(user);
    }
  }

  /** Does a piece of work of the service's own when those before it have ended. */
  take<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const turn = this.#last.then(work).finally(() => this.#waiting--);
    this.#last = turn.catch(() => {}); // its own caller is told
    return turn;
  }
}
