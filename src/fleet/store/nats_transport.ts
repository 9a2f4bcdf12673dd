/**
 * Connections to NATS servers over TCP and TLS, also in the runtime of the compiled program (Deno 2.6).
 *
 * A NATS server greets in plain text before TLS begins. Deno 2.6 can begin TLS only on a socket that no read
 * is waiting on, and does not say of a socket that it is encrypted, as Node's do.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  type ConnectionOptions,
  type NatsConnection,
  NatsConnectionImpl,
  setTransportFactory,
} from "@nats-io/transport-node";
import { nodeResolveHost, NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

const LINE_FEED = 10;

/** What starts and stops reads of a socket; part of Node's, but not of its documented interface. */
interface Reads {
  readonly _handle?: { readStart?(): void; readStop?(): void } | null;
}

class Transport extends NodeTransport {
  /** @param onFailure told of handshakes that fail although the runtime has called them done */
  constructor(readonly onFailure: (error: Error) => void) {
    super();
  }

  override async dial(address: { hostname: string; port: number }): Promise<Socket> {
    const socket = await super.dial(address);
    const stopAfterGreeting = (bytes: Uint8Array) => {
      if (!bytes.includes(LINE_FEED)) return;
      socket.off("data", stopAfterGreeting);
      (socket as Reads)._handle?.readStop?.();
    };
    socket.on("data", stopAfterGreeting);
    return socket;
  }

  override async startTLS(): Promise<TLSSocket> {
    return this.#encrypted(await super.startTLS());
  }

  override async tlsFirst(
    address: { hostname: string; port: number; tlsName: string },
  ): Promise<TLSSocket> {
    return this.#encrypted(await super.tlsFirst(address));
  }

  override setupHandlers(): void {
    super.setupHandlers();
    if (!this.isEncrypted()) (this.socket as Reads)._handle?.readStart?.();
  }

  /** Nothing is sent over a socket whose handshake then fails. */
  #encrypted(socket: TLSSocket): TLSSocket {
    if (socket.encrypted !== true) Object.defineProperty(socket, "encrypted", { value: true });
    socket.once("error", this.onFailure);
    return socket;
  }
}

/**
 * Opens a connection: the library's `connect`, with the transport above.
 *
 * @throws {Error} of the handshake, if that is what failed, else of the library
 */
export async function connectTransport(options: ConnectionOptions): Promise<NatsConnection> {
  let failure: Error | undefined;
  setTransportFactory({
    factory: () => new Transport((error) => failure = error),
    dnsResolveFn: nodeResolveHost,
  });
  try {
    return await NatsConnectionImpl.connect(options);
  } catch (error) {
    throw failure ?? error;
  }
}
