/** Whose process is at the other end of a connection to a unix socket of this process. */
import { openInodes, peerOf } from "../../ffi/libc_peer.ts";

/**
 * Deno does not say which descriptor a connection has: the one that is new since the connection before
 * is looked for. {@linkcode PeerUsers.next} must be called after each that is accepted.
 */
export class PeerUsers {
  #known = openInodes();

  /** @param path that the socket was bound to */
  constructor(readonly path: string) {}

  /** The user of the connection that was accepted last; `undefined` where that cannot be told. */
  next(): number | undefined {
    const before = this.#known;
    this.#known = openInodes();
    const added = [...this.#known].filter(([fd, inode]) => before.get(fd) !== inode)
      .map(([fd]) => peerOf(fd, this.path))
      .filter((user) => user !== undefined);
    return added.length === 1 ? added[0] : undefined;
  }
}
