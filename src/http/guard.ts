/** Who may use the API: keys, and hosts that a browser may call it by. */
import { createHash, timingSafeEqual } from "node:crypto";
import { hostname } from "node:os";
import { isIP } from "node:net";
import type { Context } from "hono";
import { ApiError } from "./api_error.ts";

/** Keys, of which a request must have one. */
export class Keys {
  readonly #digests: readonly Uint8Array[];

  /** @param keys none: everybody may use the API */
  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  /** Whether requests need a key. */
  get needed(): boolean {
    return this.#digests.length > 0;
  }

  /** @throws {ApiError} 401 for a request without a key that is known */
  check(context: Context): void {
    if (!this.needed) return;
    const given = /^Bearer +(\S+)$/i.exec(context.req.header("authorization") ?? "")?.[1] ??
      context.req.header("x-api-key");
    const sent = digest(given ?? "");
    let known = false;
    // All of them, so that the time says nothing.
    for (const key of this.#digests) known = timingSafeEqual(key, sent) || known;
    if (given !== undefined && known) return;
    const message = given === undefined
      ? "A key is missing: send Authorization: Bearer KEY"
      : "The key is not one of this server's";
    throw new ApiError(401, message, { code: "invalid_api_key" });
  }
}

function digest(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}

/**
 * Refuses requests under a name that is not this machine's: a page of another site could otherwise let
 * its own name point here and read the answers.
 */
export class Hosts {
  readonly #names: ReadonlySet<string>;
  readonly #others: ReadonlySet<string>;

  /** @param others names besides those of the machine and all addresses */
  constructor(others: readonly string[] = []) {
    const own = hostname().toLowerCase();
    this.#others = new Set(others.map((name) => name.toLowerCase()));
    this.#names = new Set(["localhost", own, `${own}.local`, ...this.#others]);
  }

  /**
   * Refuses what a page of another site sends: forms, and requests without a body, need not ask a browser
   * first. Other clients state no origin.
   *
   * @param origin of the page that sends the request
   * @param host that the request names
   * @throws {ApiError} 403 for an origin that is neither this server's nor one of the other names
   */
  checkOrigin(origin: string | undefined, host: string | undefined): void {
    if (origin === undefined) return;
    const url = URL.parse(origin);
    // Behind a proxy the page has another name than the request.
    if (url !== null && (url.host === host?.toLowerCase() || this.#others.has(url.hostname))) {
      return;
    }
    throw new ApiError(403, `Pages of ${origin} may not change anything here`, {
      code: "foreign_origin",
    });
  }

  /** @throws {ApiError} 400 without a host, 403 for a host that is not known */
  check(header: string | undefined): void {
    const host = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/i.exec(header ?? "");
    if (host === null) throw new ApiError(400, "The Host header is missing or malformed");
    const [, v6, name] = host;
    if (v6 !== undefined ? isIP(v6) === 6 : isIP(name) === 4) return;
    if (v6 === undefined && this.#names.has(name.toLowerCase().replace(/\.$/, ""))) return;
    throw new ApiError(403, `The host ${v6 ?? name} is not one of this server's`);
  }
}

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
