/** Calls of Flower's Fleet API: protobuf over HTTP, signed, tried again until they come through. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { EXIT } from "../../errors.ts";
import { backOff } from "./back_off.ts";
import { sleepUnlessAborted } from "../../system/sleep.ts";
import { RunEndedError, SuperLinkError, UnknownNodeError } from "./fleet_error.ts";
import type { NodeIdentity } from "./identity.ts";
import { decodeFlower, type FlowerName, type FlowerProto, flowerSchema } from "./proto.ts";

/** Calls by the last part of their path, with the messages that they send and get. */
const CALLS = {
  "register-node": ["RegisterNodeFleetRequest", "RegisterNodeFleetResponse"],
  "activate-node": ["ActivateNodeRequest", "ActivateNodeResponse"],
  "deactivate-node": ["DeactivateNodeRequest", "DeactivateNodeResponse"],
  "send-node-heartbeat": ["SendNodeHeartbeatRequest", "SendNodeHeartbeatResponse"],
  "pull-messages": ["PullMessagesRequest", "PullMessagesResponse"],
  "push-messages": ["PushMessagesRequest", "PushMessagesResponse"],
  "pull-object": ["PullObjectRequest", "PullObjectResponse"],
  "push-object": ["PushObjectRequest", "PushObjectResponse"],
  "confirm-message-received": [
    "ConfirmMessageReceivedRequest",
    "ConfirmMessageReceivedResponse",
  ],
} as const satisfies Readonly<Record<string, readonly [FlowerName, FlowerName]>>;

/** A call's name. */
export type FleetCall = keyof typeof CALLS;

const MEDIA_TYPE = "application/protobuf";
/**
 * Longest waits for an answer, the first and the last. They double from try to try, and begin with twice as
 * much after an answer that took half of it: an overloaded SuperLink works on calls that nobody waits for any
 * longer, too.
 */
const [TIMEOUT_MS, LONGEST_TIMEOUT_MS] = [60_000, 240_000];

/**
 * Milliseconds to wait for an answer at the first try.
 *
 * @param lastMs milliseconds that were waited for the answer before
 */
export function firstTimeoutMs(lastMs: number): number {
  return lastMs > TIMEOUT_MS / 2 ? 2 * TIMEOUT_MS : TIMEOUT_MS;
}

/** Largest answer unless the caller allows more; bounds what decoding its messages can take. */
const LARGEST_ANSWER = 256 << 10;
/** Statuses that may be others next time: of proxies, of a server that starts or is overloaded. */
const TRANSIENT = new Set([408, 429, 500, 502, 503, 504]);
/** Difference of the clocks beyond which the SuperLink takes no signature. */
const CLOCK_TOLERANCE_S = 300;

export interface FleetHttpOptions {
  /** Origin of the SuperLink, `https://host:9093`. */
  readonly url: string;
  readonly identity: NodeIdentity;
  /** Certificates to trust besides the system's, PEM. */
  readonly rootCertificates?: string;
  /** Called before a wait for another try, and once it came through. */
  readonly onRetry?: (line: string) => void;
}

export interface CallOptions {
  /** Ends the call and its tries. */
  readonly signal?: AbortSignal;
  /** Largest answer in bytes. */
  readonly limit?: number;
  /** Most tries; default without end. */
  readonly tries?: number;
  /** Told for how many milliseconds a try waited, if an answer came or the wait was too long. */
  readonly onWaited?: (milliseconds: number) => void;
}

/** One try of a call. */
interface Attempt {
  readonly signal: AbortSignal | undefined;
  /** Longest wait for the answer. */
  readonly timeoutMs: number;
}

/** One SuperLink, as its nodes reach it. */
export class FleetHttp implements Disposable {
  readonly #options: FleetHttpOptions;
  readonly #client: Deno.HttpClient;
  /** Milliseconds that the last answer took, or that were waited for it in vain. */
  #lastMs = 0;

  constructor(options: FleetHttpOptions) {
    this.#options = options;
    const { rootCertificates } = options;
    this.#client = Deno.createHttpClient({
      caCerts: rootCertificates === undefined ? [] : [rootCertificates],
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  /**
   * Calls the SuperLink; if it cannot be reached, again and again.
   *
   * @throws {RunEndedError} if the message's run has ended
   * @throws {UnknownNodeError} if it does not know this node
   * @throws {SuperLinkError} for answers that no other try changes
   * @throws the signal's reason
   */
  async call<C extends FleetCall>(
    name: C,
    request: MessageInitShape<ReturnType<typeof flowerSchema<(typeof CALLS)[C][0]>>>,
    { limit = LARGEST_ANSWER, ...patience }: CallOptions = {},
  ): Promise<FlowerProto<(typeof CALLS)[C][1]>> {
    const [asked, answered] = CALLS[name];
    const schema = flowerSchema(asked);
    // deno-lint-ignore no-explicit-any -- the types of a table's entries do not meet
    const body = toBinary(schema, create(schema, request as any) as any) as Uint8Array<ArrayBuffer>;
    const bytes = await this.#patiently(
      (timeoutMs) => this.#post(name, body, { limit, signal: patience.signal, timeoutMs }),
      patience,
    );
    try {
      return decodeFlower(answered, bytes, "Its answer") as FlowerProto<(typeof CALLS)[C][1]>;
    } catch (error) {
      throw this.#strange(`its answer to ${name} is no ${answered}`, error);
    }
  }

  /**
   * The version of Flower at the other end; `undefined` if it does not say.
   *
   * @throws {SuperLinkError} if something else than a SuperLink's HTTP answers
   */
  async version(signal?: AbortSignal): Promise<string | undefined> {
    const text = await this.#patiently(
      (timeoutMs) => this.#openApi({ signal, timeoutMs }),
      { signal },
    );
    try {
      const version = JSON.parse(text)?.info?.version;
      return typeof version === "string" ? version.slice(0, 40) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The description that FastAPI gives of the SuperLink; "" if there is none. */
  async #openApi(attempt: Attempt): Promise<string> {
    const response = await this.#fetch("/openapi.json", {}, attempt);
    const bytes = await readBounded(response, LARGEST_OPEN_API);
    if (TRANSIENT.has(response.status)) throw new Transient(`status ${response.status}`);
    return response.ok && bytes !== undefined ? new TextDecoder().decode(bytes) : "";
  }

  async #post(
    name: FleetCall,
    body: Uint8Array<ArrayBuffer>,
    { limit, ...attempt }: Attempt & { readonly limit: number },
  ): Promise<Uint8Array<ArrayBuffer>> {
    const response = await this.#fetch(`/v1/fleet/${name}`, {
      method: "POST",
      body,
      headers: {
        ...this.#options.identity.headers(),
        "content-type": MEDIA_TYPE,
        "accept": MEDIA_TYPE,
        "accept-encoding": "identity",
      },
    }, attempt);
    const bytes = await readBounded(response, limit);
    if (!response.ok) throw this.#refusal(name, response, bytes);
    if (bytes === undefined) throw this.#strange(`its answer to ${name} exceeds ${limit} bytes`);
    return bytes;
  }

  /** Redirects are not followed: a signature is for this SuperLink alone. */
  async #fetch(
    path: string,
    init: RequestInit,
    { signal, timeoutMs }: Attempt,
  ): Promise<Response> {
    const patience = AbortSignal.timeout(timeoutMs);
    try {
      return await fetch(this.#options.url + path, {
        ...init,
        client: this.#client,
        redirect: "manual",
        signal: signal === undefined ? patience : AbortSignal.any([signal, patience]),
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreached(error as Error);
    }
  }

  #unreached(error: Error): Error {
    const reasons = [error, error.cause].map((each) => each instanceof Error ? each.message : "");
    const text = reasons.join(": ");
    if (/invalid peer certificate|certificate/i.test(text)) {
      return new SuperLinkError(
        (name) =>
          `${this.#options.url} has a certificate that this machine does not trust: name that of its ` +
          `authority with ${name("rootCertificates")} (${reasons.at(-1) || reasons[0]})`,
        EXIT.access,
        { cause: error },
      );
    }
    if (
      /invalid HTTP version|http2 error|invalid HTTP|InvalidContentType|corrupt message/i.test(text)
    ) {
      return this.#strange("it does not answer in HTTP", error);
    }
    return error.name === "TimeoutError"
      ? new NoAnswer("no answer")
      : new Transient("no connection");
  }

  #refusal(
    name: FleetCall,
    response: Response,
    bytes: Uint8Array<ArrayBuffer> | undefined,
  ): Error {
    const { status } = response;
    if (TRANSIENT.has(status)) return new Transient(`status ${status}`);
    if (status === 401) return this.#unauthenticated(response);
    if (status === 403) return new RunEndedError(name);
    if (status === 404 || status === 405 || (status >= 300 && status < 400)) {
      return this.#strange(`it has no ${name} (status ${status})`);
    }
    const { detail = `status ${status}`, code } = errorOf(bytes);
    return new SuperLinkError(
      `${this.#options.url} refuses ${name}: ${detail}`,
      EXIT.access,
      { flowerCode: code },
    );
  }

  /** A signature is refused if clocks differ; otherwise the node is not known. */
  #unauthenticated(response: Response): Error {
    const their = Date.parse(response.headers.get("date") ?? "");
    const difference = Math.round((Date.now() - their) / 1000);
    if (Math.abs(difference) < CLOCK_TOLERANCE_S || Number.isNaN(difference)) {
      return new UnknownNodeError();
    }
    return new Transient(
      `this machine's clock is ${Math.abs(difference)} s ${difference < 0 ? "behind" : "ahead"}`,
    );
  }

  #strange(what: string, cause?: unknown): SuperLinkError {
    return new SuperLinkError(
      `${this.#options.url} is no SuperLink that graft can talk to, ${what}: graft needs Flower ` +
        "1.40 to 1.42, with the address of its Fleet API (port 8000 unless `flower-superlink` was told another)",
      EXIT.tryAgain,
      { cause },
    );
  }

  async #patiently<T>(
    attempt: (timeoutMs: number) => Promise<T>,
    { signal, tries = Infinity, onWaited = () => {} }: Omit<CallOptions, "limit">,
  ): Promise<T> {
    const { onRetry = () => {}, url } = this.#options;
    const firstMs = firstTimeoutMs(this.#lastMs);
    for (let done = 1;; done++) {
      const began = performance.now();
      const noteWait = () => {
        this.#lastMs = performance.now() - began;
        onWaited(this.#lastMs);
      };
      try {
        const result = await attempt(Math.min(firstMs * 2 ** (done - 1), LONGEST_TIMEOUT_MS));
        noteWait();
        if (done > 1) onRetry(`${url} answers again`);
        return result;
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof Transient)) throw error;
        if (error instanceof NoAnswer) noteWait();
        if (done >= tries) {
          throw new SuperLinkError(`${url}: ${error.message}`, EXIT.tryAgain, { cause: error });
        }
        const waitMs = backOff(done);
        if (done === 1) onRetry(`${url} cannot be reached (${error.message}); trying again`);
        await sleepUnlessAborted(waitMs, signal);
      }
    }
  }
}

/** A failure that may not occur again. */
class Transient extends Error {}

/** The wait for an answer was too long. */
class NoAnswer extends Transient {}

/** Largest description of an interface: Flower's has a quarter of this. */
const LARGEST_OPEN_API = 4 << 20;

/** A body up to a limit; `undefined` if it is longer, or breaks off. */
async function readBounded(
  response: Response,
  limit: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for await (const part of response.body ?? []) {
      if ((size += part.length) > limit) return undefined;
      parts.push(part);
    }
  } catch {
    throw new Transient("the answer broke off");
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** What Flower says of an error, in printable characters, and its number. */
function errorOf(
  bytes: Uint8Array | undefined,
): { readonly detail?: string; readonly code?: number } {
  try {
    const { detail, code } = JSON.parse(new TextDecoder().decode(bytes));
    return {
      ...(typeof detail === "string" ? { detail: printable(detail).slice(0, 300) } : {}),
      ...(Number.isSafeInteger(code) ? { code } : {}),
    };
  } catch {
    return {};
  }
}

/** A server's text goes to a terminal. */
const printable = (text: string) => text.replaceAll(/\p{Cc}/gu, " ");
