/**
 * Requests to the hub. Redirects are followed here and not by `fetch`: the token goes to the hub's own
 * origin alone, and only files may come from other hosts.
 *
 * `@huggingface/hub` is not used, because its downloads neither resume nor check digests, write no refs,
 * and follow redirects by themselves.
 */
import { AccessError, BadInputError, HubError } from "../errors.ts";
import { sleepUnlessAborted } from "../system/sleep.ts";
import { Patience, type Pause, retryAfterMs, Transient } from "./transient.ts";

const MOST_REDIRECTS = 5;
/** Largest accepted JSON response, more than any listing of a repository. */
const LARGEST_JSON = 64 << 20;

export interface HubHttpOptions {
  /** Origin and path of the hub, without a slash at its end. */
  readonly endpoint: string;
  readonly token?: string;
  /** Longest silence of a connection. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Called before a wait for another try. */
  readonly onRetry?: (line: string) => void;
  readonly pause?: Pause;
}

/** A response whose body is read in pieces; leaving the loop ends the connection. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Headers of the hub's own response, if another host sent this one. */
  readonly hubHeaders: Headers;
  /** Its address after redirects. */
  readonly url: URL;
  chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** A URL for messages, without its query, which may hold a signature. */
export const shown = (url: URL): string => url.origin + url.pathname;

/** Requests to one hub. */
export class HubHttp {
  readonly endpoint: string;
  readonly #options: HubHttpOptions;
  readonly #origin: string;

  constructor(options: HubHttpOptions) {
    this.endpoint = options.endpoint;
    this.#options = options;
    this.#origin = new URL(options.endpoint).origin;
  }

  /** The address of a path at the hub. */
  url(path: string): URL {
    return new URL(this.endpoint + path);
  }

  patience(what: string, signal = this.#options.signal): Patience {
    const { pause = sleepUnlessAborted, onRetry = () => {} } = this.#options;
    return new Patience(what, pause, onRetry, signal);
  }

  /**
   * JSON from the hub itself, with retries.
   *
   * @throws {HubError} if the hub cannot be reached or does not return JSON
   */
  async json(url: URL): Promise<{ readonly value: unknown; readonly headers: Headers }> {
    const patience = this.patience(shown(url));
    while (true) {
      try {
        const answer = await this.get(url, { accept: "application/json" }, { elsewhere: false });
        const parts: Uint8Array<ArrayBuffer>[] = [];
        let size = 0;
        for await (const chunk of answer.chunks()) {
          parts.push(chunk);
          if ((size += chunk.length) > LARGEST_JSON) {
            throw new HubError(`${shown(url)}: the answer has more than ${LARGEST_JSON} bytes`);
          }
        }
        return { value: parseJson(await new Blob(parts).text(), url), headers: answer.headers };
      } catch (error) {
        await patience.after(error);
      }
    }
  }

  /**
   * One request, through its redirects.
   *
   * @param options.elsewhere whether a redirect may lead to another host
   * @throws {Transient} for failures that may not occur again
   * @throws {AccessError | BadInputError | HubError} for permanent failures
   */
  async get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    options: { readonly elsewhere: boolean; readonly signal?: AbortSignal },
  ): Promise<Answer> {
    const connection = new Connection(
      this.#options.timeoutMs,
      options.signal ?? this.#options.signal,
    );
    try {
      let hubHeaders = new Headers();
      let now = url;
      for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
        const response = await connection.fetch(now, this.#headersFor(now, headers));
        if (now.origin === this.#origin) hubHeaders = merged(hubHeaders, response.headers);
        if (response.status < 300 || response.status >= 400) {
          if (!response.ok) {
            await response.body?.cancel();
            throw this.#failureOf(response, now, hubHeaders);
          }
          return {
            status: response.status,
            headers: response.headers,
            hubHeaders,
            url: now,
            chunks: () => connection.chunks(response, now),
          };
        }
        await response.body?.cancel();
        now = this.#redirect(now, response.headers.get("location"), options.elsewhere);
      }
      throw new HubError(`${shown(url)} redirects more than ${MOST_REDIRECTS} times`);
    } catch (error) {
      connection.end();
      throw error;
    }
  }

  #headersFor(url: URL, headers: Readonly<Record<string, string>>): Headers {
    const all = new Headers({ ...headers, "accept-encoding": "identity", "user-agent": "graft" });
    const { token } = this.#options;
    if (token !== undefined && url.origin === this.#origin) {
      all.set("authorization", `Bearer ${token}`);
    }
    return all;
  }

  #redirect(from: URL, location: string | null, elsewhere: boolean): URL {
    const to = location === null ? null : URL.parse(location, from);
    if (to === null || !/^https?:$/.test(to.protocol)) {
      throw new HubError(`${shown(from)} redirects to an invalid web address`);
    }
    if (from.protocol === "https:" && to.protocol !== "https:") {
      throw new HubError(`${shown(from)} redirects to ${shown(to)}, which is not encrypted`);
    }
    if (!elsewhere && to.origin !== this.#origin) {
      throw new HubError(
        `${shown(from)} redirects to ${
          shown(to)
        }, another host than the hub, which only files may do`,
      );
    }
    return to;
  }

  #failureOf(response: Response, url: URL, hubHeaders: Headers): Error {
    const { status, headers } = response;
    const failure = `${shown(url)} answers ${status}`;
    if (status === 408 || status === 429 || status >= 500) {
      return new Transient(failure, retryAfterMs(headers.get("retry-after"), Date.now()));
    }
    const code = hubHeaders.get("x-error-code");
    const token = this.#options.token === undefined
      ? "set HF_TOKEN, or log in with `hf auth login`"
      : "the token that is set does not give access";
    if (code === "GatedRepo") {
      return new AccessError(
        `${failure}: the model is gated: accept its terms on its page at ${this.endpoint}; ${token}`,
      );
    }
    // The hub hides private repositories: without access it reports them as not found.
    if (status === 401 && code === "RepoNotFound") {
      return new AccessError(`${failure}: there is no such model, or it is private; ${token}`);
    }
    if (status === 401) return new AccessError(`${failure}: it needs a token; ${token}`);
    if (status === 403) return new AccessError(`${failure}: access is refused; ${token}`);
    if (status === 404) {
      return new BadInputError((name) =>
        `${failure}: there is ${
          code === "RevisionNotFound"
            ? `no such revision: check ${name("revision")}`
            : code === "EntryNotFound"
            ? "no such file"
            : "no such model: check its name"
        }`
      );
    }
    return new HubError(failure);
  }
}

function merged(first: Headers, second: Headers): Headers {
  const all = new Headers(first);
  for (const [name, value] of second) all.set(name, value);
  return all;
}

function parseJson(text: string, url: URL): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HubError(`${shown(url)}: the answer is not JSON: is HF_ENDPOINT a hub?`, { cause });
  }
}

/** One connection that may not be silent for too long. */
class Connection {
  readonly #controller = new AbortController();
  readonly #timeoutMs: number;
  readonly #signal?: AbortSignal;
  readonly #stop = () => this.#controller.abort(this.#signal!.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timeoutMs: number, signal: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    signal?.throwIfAborted();
    signal?.addEventListener("abort", this.#stop, { once: true });
  }

  async fetch(url: URL, headers: Headers): Promise<Response> {
    this.#expect(url);
    try {
      const { signal } = this.#controller;
      return await fetch(url, { headers, redirect: "manual", signal });
    } catch (error) {
      throw this.#failure(error, url);
    }
  }

  async *chunks(response: Response, url: URL): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    try {
      if (response.body === null) return;
      this.#expect(url);
      for await (const chunk of response.body) {
        clearTimeout(this.#timer); // the reader may take its time
        yield chunk;
        this.#expect(url);
      }
    } catch (error) {
      throw this.#failure(error, url);
    } finally {
      this.end();
    }
  }

  /** Closes the connection. */
  end(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#stop);
    this.#controller.abort();
  }

  #expect(url: URL): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#controller.abort(
        new Transient(`${url.host} said nothing for ${this.#timeoutMs / 1000} s`),
      );
    }, this.#timeoutMs);
  }

  #failure(error: unknown, url: URL): unknown {
    const { signal } = this.#controller;
    if (signal.aborted) return signal.reason;
    if (error instanceof Deno.errors.NotCapable) {
      return new HubError(
        `Cannot connect to ${url.host}: this program may not use the network`,
        { cause: error },
      );
    }
    return new Transient(`${url.host}: ${reasonOf(error)}`);
  }
}

/**
 * The reason of a failed connection. Deno's message quotes the whole URL: only the text after it is
 * shown.
 */
function reasonOf(error: unknown): string {
  const { cause } = error as Error;
  const { message } = cause instanceof Error ? cause : error as Error;
  const why = message.replace(/^.*? for url \(\S*\): /, "");
  return /https?:/.test(why) ? "it cannot be reached" : why;
}
