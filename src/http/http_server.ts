/** The API as a server: what `graft serve` and the service have in common, from listening to the end. */
import type { Admission } from "./admission.ts";
import { type AppOptions, createApp } from "./app.ts";
import { drainRequests, FLUSH_MS } from "./drain.ts";
import { listen, type Listening, type ListenOptions } from "./listen.ts";
import { Metrics } from "./metrics.ts";
import type { FineTuning } from "./server_parts.ts";
import type { Tracing } from "./trace/tracing.ts";

export interface HttpServerOptions extends Omit<AppOptions, "metrics" | "stop"> {
  readonly listen: ListenOptions;
}

export class HttpServer {
  readonly #admission: Admission;
  readonly #fineTuning: FineTuning | undefined;
  readonly #tracing: Tracing | undefined;
  readonly #stop = new AbortController();
  readonly #begin: () => Promise<Listening>;
  /** Whether the socket is somebody else's, so that connections wait there while nobody accepts them. */
  readonly #isHanded: boolean;
  #listening: Promise<Listening> | undefined;

  constructor({ listen: address, ...parts }: HttpServerOptions) {
    const { admission, fineTuning, tracing } = parts;
    const app = createApp({
      ...parts,
      metrics: new Metrics(() => admission.inWork, () => Deno.memoryUsage().rss),
      stop: this.#stop.signal,
    });
    this.#admission = admission;
    this.#fineTuning = fineTuning;
    this.#tracing = tracing;
    this.#isHanded = address.fd !== undefined;
    this.#begin = () => listen(app.fetch, address);
  }

  /** Whether it listens on a socket that it was handed: connections wait there until it does. */
  get isHanded(): boolean {
    return this.#isHanded;
  }

  /**
   * Listens, unless it does already.
   *
   * @returns the port
   * @throws {StorageError} if the address cannot be used
   */
  async listen(): Promise<number> {
    return (await (this.#listening ??= this.#begin())).port;
  }

  /**
   * Refuses new requests, and ends when those in work are answered, or after `boundMs`, and the job in
   * work has saved a checkpoint.
   *
   * @returns whether all were answered
   */
  async drain(boundMs: number): Promise<boolean> {
    const listening = await this.#listening;
    const jobEnded = this.#fineTuning?.jobs.close();
    // Later connections are for whoever has the socket next.
    const closed = this.#isHanded ? listening?.close(boundMs) : undefined;
    const inTime = await drainRequests(this.#admission, this.#stop, boundMs);
    await Promise.all([
      closed ?? listening?.close(FLUSH_MS),
      this.#tracing?.close(FLUSH_MS),
      jobEnded,
    ]);
    return inTime;
  }

  /** Ends at once. */
  async close(): Promise<void> {
    await (await this.#listening)?.close(0);
  }
}
