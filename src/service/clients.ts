/** Who is connected, how many may be, and who has to go for one more. */

/** The number of a user; `undefined` where that cannot be told: all of these are one user. */
export type User = number | undefined;

/** What is known of a connection. */
export interface Connected {
  readonly user: User;
  /** When it last got an answer, or came: since then it has asked nothing. */
  readonly since: number;
  /** Whether what it asked is being answered. */
  readonly answering: boolean;
}

export interface Bounds {
  /** Connections at a time. */
  readonly most: number;
  /** Those of one user. */
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
   * Whether there is room for one more of a user, or who has to go: of the users with most connections
   * the one that has asked nothing for longest, so that nobody who asks is kept out by others who
   * don't. Who is being answered stays.
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
