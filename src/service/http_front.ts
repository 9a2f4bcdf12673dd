/** The daemon's HTTP side: OpenAI's API over the model in use, which changes between two requests. */
import { Admission } from "../http/admission.ts";
import { createApp } from "../http/app.ts";
import { drainRequests, FLUSH_MS } from "../http/drain.ts";
import type { Hosts, Keys } from "../http/guard.ts";
import { HeldModel } from "../http/held_model.ts";
import { listen, type Listening, type ListenOptions } from "../http/listen.ts";
import { Metrics } from "../http/metrics.ts";
import type { ServedModel } from "../http/served_model.ts";
import type { Tracing } from "../http/trace/tracing.ts";
import type { Log } from "../system/journal_log.ts";
import { unixSeconds } from "../system/unix_time.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";

export interface HttpFrontOptions {
  readonly listen: ListenOptions;
  readonly keys: Keys;
  readonly hosts: Hosts;
  /** Most tokens of an answer that a request states none for. */
  readonly maxTokens: number;
  /** Answers at the same time, and requests in work and waiting. */
  readonly parallel: number;
  readonly mostRequests: number;
  readonly log: Log;
  /** Absent: requests are not traced. */
  readonly tracing?: Tracing;
}

export class HttpFront {
  readonly #admission: Admission;
  readonly #stop = new AbortController();
  readonly #listen: () => Promise<Listening>;
  /** Whether the socket is somebody else's, so that connections wait there while nobody accepts them. */
  readonly #isHanded: boolean;
  readonly #tracing: Tracing | undefined;
  #listening: Promise<Listening> | undefined;
  #used: { readonly served: ServedModel; readonly held: HeldModel } | undefined;

  private constructor(options: HttpFrontOptions) {
    const { keys, hosts, maxTokens, parallel, log, tracing } = options;
    const admission = this.#admission = new Admission(options.mostRequests);
    const app = createApp({
      models: { list: () => this.#used === undefined ? [] : [this.#used.served] },
      admission,
      metrics: new Metrics(() => admission.inWork, () => Deno.memoryUsage().rss),
      maxTokens,
      parallel,
      stop: this.#stop.signal,
      keys,
      hosts,
      onFailure: (error, id) => log("error", `${id}: ${error}`),
      tracing,
    });
    this.#tracing = tracing;
    this.#isHanded = options.listen.fd !== undefined;
    this.#listen = () => listen(app.fetch, options.listen);
  }

  /**
   * Listens; requests get 503 until there is a model. On a socket that was handed over they wait instead.
   *
   * @throws {StorageError} if the address cannot be used
   */
  static async open(options: HttpFrontOptions): Promise<HttpFront> {
    const front = new HttpFront(options);
    if (!front.#isHanded) await (front.#listening = front.#listen());
    return front;
  }

  /** The port, once it listens. */
  async port(): Promise<number> {
    return (await this.#listening)!.port;
  }

  /**
   * Answers with another model from the next request on.
   *
   * @param id its name for requests
   * @returns resolves when no request uses the model before any more
   */
  use(id: string, model: InferenceModel): Promise<void> {
    const before = this.#used;
    const held = new HeldModel(model);
    const served = { id, created: unixSeconds(), model, hold: () => held.hold() };
    this.#used = { served, held };
    this.#listening ??= this.#listen();
    return before?.held.retire() ?? Promise.resolve();
  }

  /**
   * Refuses new requests, and ends when those in work are answered, or after `boundMs`.
   *
   * @returns whether all were answered
   */
  async drain(boundMs: number): Promise<boolean> {
    const listening = await this.#listening;
    const closed = this.#isHanded ? listening?.close(boundMs) : undefined;
    const inTime = await drainRequests(this.#admission, this.#stop, boundMs);
    await Promise.all([closed ?? listening?.close(FLUSH_MS), this.#tracing?.close(FLUSH_MS)]);
    return inTime;
  }
}
