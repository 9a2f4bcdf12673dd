/** Runs tasks one after another, with limits on waiting ones. */
import type { User } from "./clients.ts";

/** Most answers in progress and waiting, of all users and of one; further lines are rejected. */
const MOST_WAITING = 64;
const MOST_WAITING_EACH = 16;

export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  readonly #ofUser = new Map<User, number>();

  /**
   * @param most tasks at a time, the running one included
   * @param mostEach tasks of one user, so that there is room for others
   */
  constructor(readonly most = MOST_WAITING, readonly mostEach = MOST_WAITING_EACH) {}

  /** Whether a user's task is in work or waits. */
  get isAsked(): boolean {
    return this.#ofUser.size > 0;
  }

  /** Whether no more tasks of a user are accepted. */
  full(user: User): boolean {
    return this.#waiting >= this.most || (this.#ofUser.get(user) ?? 0) >= this.mostEach;
  }

  /** Runs a user's task after those before it. */
  async takeFor<T>(user: User, work: () => Promise<T>): Promise<T> {
    const count = (more: number) => this.#ofUser.set(user, (this.#ofUser.get(user) ?? 0) + more);
    count(1);
    try {
      return await this.take(work);
    } finally {
      if (count(-1).get(user) === 0) this.#ofUser.delete(user);
    }
  }

  /** Runs a task of the service itself after those before it. */
  take<T>(work: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const turn = this.#last.then(work).finally(() => this.#waiting--);
    this.#last = turn.catch(() => {}); // its own caller gets the error
    return turn;
  }
}
