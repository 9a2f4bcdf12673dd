/** The user at the other end of a connection to a unix socket of this process. */
import { openInodes, peerOf } from "../../ffi/libc_peer.ts";

/**
 * Finds the users of connections. Deno does not expose a connection's descriptor, so the one that is new
 * since the previous connection is used; {@linkcode PeerUsers.next} must be called after each accepted
 * connection.
 */
export class PeerUsers {
  #known = openInodes();

  /** @param path to which the socket is bound */
  constructor(readonly path: string) {}

  /** The user of the connection that was accepted last; `undefined` if unknown. */
  next(): number | undefined {
    const before = this.#known;
    this.#known = openInodes();
    const added = [...this.#known].filter(([fd, inode]) => before.get(fd) !== inode)
      .map(([fd]) => peerOf(fd, this.path))
      .filter((user) => user !== undefined);
    return added.length === 1 ? added[0] : undefined;
  }
}
