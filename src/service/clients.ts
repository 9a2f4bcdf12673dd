/** Connected clients, their limits, and the choice of a connection to close for a new one. */

/** A user's number; `undefined` if unknown: all of these count as one user. */
export type User = number | undefined;

/** State of a connection. */
export interface Connected {
  readonly user: User;
  /** Time of its last answer, or of its beginning: it has asked nothing since. */
  readonly since: number;
  /** Whether its request is being answered. */
  readonly answering: boolean;
}

export interface Bounds {
  /** Most connections at a time. */
  readonly most: number;
  /** Most connections of one user. */
  readonly mostEach: number;
}

export class Clients<C extends Connected> {
  readonly #all = new Set<C>();

  constructor(readonly bounds: Bounds) {}

  add(client: C): void {
    this.#all.add(client);
  }

  delete(client: C): void {
    this.#all.delete(client);
  }

  [Symbol.iterator](): IterableIterator<C> {
    return this.#all.values();
  }

  /**
   * Whether a user may have one more connection, or which one must be closed: the one that has been idle
   * longest, of the users with most connections, so that idle clients do not block others. A connection
   * that is being answered stays.
   */
  room(user: User): "free" | "none" | { readonly instead: C } {
    const { most, mostEach } = this.bounds;
    const counts = new Map<User, number>();
    for (const { user } of this.#all) counts.set(user, (counts.get(user) ?? 0) + 1);
    const own = (counts.get(user) ?? 0) >= mostEach;
    if (!own && this.#all.size < most) return "free";
    const [instead] = [...this.#all]
      .filter((client) => !client.answering && (!own || client.user === user))
      .sort((a, b) => counts.get(b.user)! - counts.get(a.user)! || a.since - b.since);
    return instead === undefined ? "none" : { instead };
  }
}
