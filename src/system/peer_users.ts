/** Whose process is at the other end of a connection to a unix socket of this process. */
import { peersOf } from "../../ffi/libc_peer.ts";

/**
 * Deno does not say which descriptor a connection has, so that the one that is new among all of the
 * socket's is looked for: {@linkcode PeerUsers.next} must be called after each that is accepted.
 */
export class PeerUsers {
  #known: ReadonlyMap<number, number>;

  /** @param path that the socket was bound to */
  constructor(readonly path: string) {
    this.#known = peersOf(path);
  }

  /** The user of the connection that was accepted last; `undefined` where that cannot be told. */
  next(): number | undefined {
    const peers = peersOf(this.path);
    const added = [...peers].filter(([inode]) => !this.#known.has(inode));
    this.#known = peers;
    return added.length === 1 ? added[0][1] : undefined;
  }
}
