/**
 * An HTTP server with limits for slow, silent and many clients, over `node:http`: `Deno.serve` has no
 * time-out for headers, and dies when descriptors run out.
 */
import { createServer, type Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { StorageError } from "../errors.ts";
import { discardBody } from "./discard_body.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** A socket that listens already, which takes the place of both. */
  readonly fd?: number;
  /** Milliseconds that a request's headers, and its whole body, may take. */
  readonly headersMs?: number;
  readonly requestMs?: number;
  readonly maxConnections?: number;
}

const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;
/** How often the server looks for requests that take too long. */
const LOOK_MS = 1000;
const CLOSE_LOOK_MS = 20;
const MOST_HEADER_BYTES = 16 * 1024;
const MOST_CONNECTIONS = 1024;

/** First release of Deno that was seen to listen on a socket by its descriptor. */
const TAKES_SOCKETS_SINCE = [2, 9] as const;

/** Whether this runtime can listen on a socket that it is handed; older ones ignore it silently. */
export function takesSockets(version: string = Deno.version.deno): boolean {
  const [major, minor] = version.split(".").map(Number);
  const [sinceMajor, sinceMinor] = TAKES_SOCKETS_SINCE;
  return major > sinceMajor || (major === sinceMajor && minor >= sinceMinor);
}

/** A server that listens. */
export interface Listening {
  /** The port, also where any free one was asked for. */
  readonly port: number;
  /**
   * Accepts no more connections, and closes them: idle ones at once, others when they are answered, or
   * after `boundMs`.
   */
  close(boundMs: number): Promise<void>;
}

/**
 * @param fetch answers requests
 * @throws {StorageError} if the address cannot be used
 */
export async function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  options: ListenOptions,
): Promise<Listening> {
  const { host, port } = options;
  const requestMs = options.requestMs ?? REQUEST_MS;
  const answer = async (request: Request) => {
    const response = await fetch(request);
    await discardBody(request, requestMs);
    return response;
  };
  const server = createServer({
    maxHeaderSize: MOST_HEADER_BYTES,
    headersTimeout: Math.min(options.headersMs ?? HEADERS_MS, requestMs),
    requestTimeout: requestMs,
    connectionsCheckingInterval: LOOK_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  }, getRequestListener(answer, { overrideGlobalObjects: false }));
  server.maxConnections = options.maxConnections ?? MOST_CONNECTIONS;
  await listening(server, options);
  const address = server.address();
  if (options.fd !== undefined && typeof address === "object" && address?.port !== port) {
    server.close();
    throw new StorageError(
      `This runtime cannot listen on a socket that it is handed: ${host} ${port}`,
    );
  }
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    async close(boundMs) {
      const closed = new Promise<true>((resolve) => server.close(() => resolve(true)));
      const end = performance.now() + boundMs;
      // A connection is idle a moment after its answer has been sent.
      do server.closeIdleConnections(); while (
        performance.now() < end && !await Promise.race([closed, pause(CLOSE_LOOK_MS)])
      );
      server.closeAllConnections();
    },
  };
}

function pause(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms));
}

function listening(server: Server, { host, port, fd }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const address = `${host} port ${port}`;
      const place = fd === undefined ? address : `descriptor ${fd}, handed over as ${address}`;
      const message = `Cannot listen on ${place}: ${error.message}`;
      reject(new StorageError(message, { cause: error }));
    });
    if (fd === undefined) server.listen(port, host, resolve);
    else server.listen({ fd }, resolve);
  });
}
