/** Connects to a NATS server, by URLs and credentials as the `nats` command line has them. */
import {
  type Authenticator,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
} from "@nats-io/transport-node";
import {
  AccessError,
  BadInputError,
  type GraftError,
  ParameterError,
  ServerError,
} from "../../errors.ts";
import { readSmallFile } from "../../system/small_file.ts";
import { connectTransport } from "./nats_transport.ts";

/** Servers and credentials; paths are of files. */
export interface NatsSettings {
  /** URLs with commas between: `nats://` or `tls://`. */
  readonly server: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  readonly creds?: string;
  readonly nkey?: string;
  readonly tlscert?: string;
  readonly tlskey?: string;
  readonly tlsca?: string;
  readonly tlsfirst?: boolean;
  /** Name of the connection, which the server lists. */
  readonly name: string;
  /** How long the server may take to answer. */
  readonly timeoutMs: number;
  /** Whether to wait for a server that is not there yet, and to come back to one for ever. */
  readonly patient: boolean;
}

/** Time between two attempts of a patient connection. */
const RECONNECT_MS = 2000;

/**
 * Opens a connection.
 *
 * @throws {ServerError} if no server answers
 * @throws {AccessError} if it refuses the credentials
 * @throws {BadInputError} naming a file that cannot be read
 */
export async function connectNats(settings: NatsSettings): Promise<NatsConnection> {
  const { server, user, password, token, tlscert, tlskey, tlsca, tlsfirst } = settings;
  const servers = server.split(",").map((url) => url.trim()).filter((url) => url !== "");
  for (const url of servers) checkUrl(url);
  for (const path of [tlscert, tlskey, tlsca]) if (path !== undefined) readFile(path);
  // With these options a server without TLS is refused, before credentials are sent to it.
  const secure = tlscert ?? tlskey ?? tlsca ?? (tlsfirst || undefined) ??
    servers.find((url) => url.startsWith("tls://"));
  const tls = { certFile: tlscert, keyFile: tlskey, caFile: tlsca, handshakeFirst: tlsfirst };
  const authenticator = authenticatorOf(settings);
  try {
    return await connectTransport({
      servers,
      ...{ user, pass: password, token, name: settings.name, timeout: settings.timeoutMs },
      authenticator,
      ...(secure === undefined ? {} : { tls }),
      ...(settings.patient
        ? {
          waitOnFirstConnect: true,
          ignoreAuthErrorAbort: true,
          maxReconnectAttempts: -1,
          reconnectTimeWait: RECONNECT_MS,
        }
        : {}),
    });
  } catch (cause) {
    throw asGraftError(cause, server);
  }
}

function checkUrl(url: string): void {
  if (/^(nats|tls):\/\/[^\s/]+$/.test(url) || /^[^\s/:]+(:\d+)?$/.test(url)) return;
  throw new ParameterError(
    "server",
    (name) =>
      `${
        name("server")
      } must be nats://HOST:PORT, tls://HOST:PORT or file://FOLDER: current value is ` +
      `"${url}"`,
  );
}

function authenticatorOf({ creds, nkey }: NatsSettings): Authenticator | undefined {
  if (creds !== undefined) return parsed(creds, () => credsAuthenticator(readFile(creds)));
  if (nkey === undefined) return undefined;
  const seed = new TextDecoder().decode(readFile(nkey)).trim();
  return parsed(nkey, () => nkeyAuthenticator(new TextEncoder().encode(seed)));
}

function parsed(path: string, make: () => Authenticator): Authenticator {
  try {
    const authenticator = make();
    authenticator("tried"); // files are parsed when something is signed
    return authenticator;
  } catch (cause) {
    const why = (cause as Error).message;
    throw new BadInputError(`${path}: these are no credentials of NATS: ${why}`, { cause });
  }
}

function readFile(path: string): Uint8Array {
  const bytes = readSmallFile(path);
  if (bytes === undefined) throw new BadInputError(`${path} is missing`);
  return bytes;
}

/** What a bucket that does not exist answers, by the way it is asked. */
const MISSING = /no responders|stream not found/i;
const REFUSED =
  /authori[sz]ation|authentication|permissions? violation|user authentication expired/i;

/** What went wrong with a server, as an error that a user can act on. */
export function asGraftError(cause: unknown, server: string): GraftError {
  const { name, message } = cause as Error;
  const why = message || name;
  if (REFUSED.test(`${name} ${why}`)) {
    return new AccessError(
      (name) =>
        `${server} refuses access: ${why}: give ${name("creds")}, ${name("nkey")}, ${
          name("user")
        } or ` +
        `${name("tlscert")} with the rights that docs/rollout.md lists`,
      { cause },
    );
  }
  if (MISSING.test(why)) {
    return new ServerError(
      `${server}: there is no such bucket, or no JetStream: graft fleet publish makes it (${why})`,
      { cause },
    );
  }
  return new ServerError(`${server} does not answer as NATS with JetStream does: ${why}`, {
    cause,
  });
}
