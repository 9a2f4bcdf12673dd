/** Settings of the hub and the cache, from the environment variables of Hugging Face's tools. */
import { isAbsolute, join } from "@std/path";
import { UsageError } from "../errors.ts";
import { readSmallText } from "../system/small_file.ts";

/** Settings of the hub's connection. */
export interface HubSettings {
  /** Origin and path of the hub, without a slash at its end. */
  readonly endpoint: string;
  /** Never printed, and sent to the endpoint's origin alone. */
  readonly token?: string;
  /** Folder of `models--org--name`. */
  readonly cache: string;
  /** Whether the network must not be used. */
  readonly offline: boolean;
  /** Longest silence of a connection. */
  readonly timeoutMs: number;
}

/** Reads an environment variable; a parameter for tests. */
export type Variable = (name: string) => string | undefined;

const environment: Variable = (name) => Deno.env.get(name);

const DEFAULT_ENDPOINT = "https://huggingface.co";
const DEFAULT_TIMEOUT_S = 30;

/** Expands `~` in a path, as huggingface_hub does. */
function expanded(path: string, variable: Variable): string {
  return path === "~" || path.startsWith("~/") ? join(home(variable), path.slice(1)) : path;
}

function home(variable: Variable): string {
  const path = variable("HOME");
  if (path) return path;
  throw new UsageError(
    "There is no home folder to keep models in: set HF_HOME and GRAFT_HOME to folders",
  );
}

function hfHome(variable: Variable): string {
  const own = variable("HF_HOME");
  if (own) return expanded(own, variable);
  const shared = variable("XDG_CACHE_HOME");
  const caches = shared && isAbsolute(shared) ? shared : join(home(variable), ".cache");
  return join(caches, "huggingface");
}

/**
 * The folder of pulled models, shared with Hugging Face's own tools: `HF_HUB_CACHE`, else `hub` in
 * `HF_HOME`, else `~/.cache/huggingface/hub`.
 *
 * @throws {UsageError} if the environment names no home
 */
export function hubCache(variable: Variable = environment): string {
  const own = variable("HF_HUB_CACHE") || variable("HUGGINGFACE_HUB_CACHE");
  return own ? expanded(own, variable) : join(hfHome(variable), "hub");
}

/**
 * The folder of data that graft must not lose, such as the adapter store: `GRAFT_HOME`, else `graft` in
 * `XDG_DATA_HOME`, else `~/.local/share/graft`.
 *
 * Source: XDG Base Directory Specification 0.8, by which relative paths are ignored.
 *
 * @throws {UsageError} if the environment names no home
 */
export function graftHome(variable: Variable = environment): string {
  const own = variable("GRAFT_HOME");
  if (own) return expanded(own, variable);
  const shared = variable("XDG_DATA_HOME");
  const data = shared && isAbsolute(shared) ? shared : join(home(variable), ".local", "share");
  return join(data, "graft");
}

/**
 * All settings of the hub.
 *
 * @throws {UsageError} for an invalid endpoint or token; the token is not in the message
 */
export function hubSettings(variable: Variable = environment): HubSettings {
  const isOn = (name: string) => /^(1|on|yes|true)$/i.test(variable(name) ?? "");
  return {
    endpoint: endpointOf(variable("HF_ENDPOINT") || DEFAULT_ENDPOINT),
    token: tokenOf(variable),
    cache: hubCache(variable),
    offline: isOn("HF_HUB_OFFLINE") || isOn("TRANSFORMERS_OFFLINE"),
    timeoutMs: 1000 * timeoutOf(variable("HF_HUB_DOWNLOAD_TIMEOUT")),
  };
}

function endpointOf(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username || url.password) {
    // The text may hold a password.
    throw new UsageError("HF_ENDPOINT must be an http or https address without user and password");
  }
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

function timeoutOf(text: string | undefined): number {
  if (!text) return DEFAULT_TIMEOUT_S;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 86_400) return seconds;
  throw new UsageError(
    `HF_HUB_DOWNLOAD_TIMEOUT must be a number of seconds > 0: current value is "${text}"`,
  );
}

function tokenOf(variable: Variable): string | undefined {
  const given = variable("HF_TOKEN") || variable("HUGGING_FACE_HUB_TOKEN");
  if (given) return checkedToken(given, "HF_TOKEN");
  const named = variable("HF_TOKEN_PATH");
  const path = named ? expanded(named, variable) : join(hfHome(variable), "token");
  let text: string | undefined;
  try {
    text = readSmallText(path);
  } catch {
    return undefined; // not logged in, or not readable by this user: public models need no token
  }
  return text === undefined || text.trim() === "" ? undefined : checkedToken(text, path);
}

function checkedToken(text: string, where: string): string | undefined {
  const token = text.trim();
  // The error for an invalid header value would quote it.
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new UsageError(`The token of ${where} has characters that no token has`);
}
