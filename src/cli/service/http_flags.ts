/** What the flags of HTTP say: addresses, keys, and the socket that systemd hands over. */
import { kebab } from "../../config/parameter.ts";
import { BadInputError, UsageError } from "../../errors.ts";
import { isLoopback } from "../../http/guard.ts";
import { takesSockets } from "../../http/listen.ts";
import { readTextFile } from "../../system/small_file.ts";

/** First descriptor that systemd hands over. Source: sd_listen_fds(3). */
const FIRST_DESCRIPTOR = 3;

/**
 * Refuses flags about requests over HTTP where there are none.
 *
 * @param flags those, by key
 * @param given keys of the flags that were given
 * @throws {UsageError} naming the first
 */
export function checkListens(
  listen: string | undefined,
  flags: Readonly<Record<string, unknown>>,
  given: ReadonlySet<string>,
): void {
  const key = Object.keys(flags).find((key) => given.has(key));
  if (listen !== undefined || key === undefined) return;
  throw new UsageError(`--${kebab(key)} is about requests over HTTP: give --listen, too`);
}

/**
 * An address as `127.0.0.1:8080` or `[::1]:8080`.
 *
 * @param hasKeys whether requests need a key
 * @throws {UsageError} for anything else, and for one that other machines reach without a key
 */
export function httpAddress(
  text: string,
  hasKeys: boolean,
): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new UsageError(`--listen must be HOST:PORT: current value is ${text}`);
  }
  const host = match[1] ?? match[2];
  requireKeys(host, hasKeys);
  return { host, port };
}

/** @throws {UsageError} for a host that other machines reach, without keys */
export function requireKeys(host: string, hasKeys: boolean): void {
  if (isLoopback(host) || hasKeys) return;
  throw new UsageError(
    `${host} lets other machines ask: give keys with --api-key-file, or an address of this machine ` +
      "such as 127.0.0.1",
  );
}

/**
 * Keys of a file, one a line.
 *
 * @throws {BadInputError} for a file without any
 */
export function readKeys(path: string): readonly string[] {
  const keys = readTextFile(path).split(/\r?\n/).map((line) => line.trim())
    .filter((line) => line !== "");
  if (keys.length > 0) return keys;
  throw new BadInputError(`${path} has no keys: it must have one a line`);
}

/** The descriptor of the socket that systemd hands to this process, if it does. */
export function handedSocket(
  variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
): number | undefined {
  if (!takesSockets()) return undefined;
  const isMeant = variable("LISTEN_PID") === String(Deno.pid);
  return isMeant && Number(variable("LISTEN_FDS")) >= 1 ? FIRST_DESCRIPTOR : undefined;
}
