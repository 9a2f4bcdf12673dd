/** The daemon's HTTP side: OpenAI's API over the model in use, which changes between two requests. */
import { HeldModel } from "../http/held_model.ts";
import { HttpServer, type HttpServerOptions } from "../http/http_server.ts";
import type { ServedModel } from "../http/served_model.ts";
import type { Log } from "../system/journal_log.ts";
import { unixSeconds } from "../system/unix_time.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";

export interface HttpFrontOptions extends Omit<HttpServerOptions, "models" | "onFailure"> {
  readonly log: Log;
}

export class HttpFront {
  readonly #server: HttpServer;
  /** The base with adapters, which stays open whatever model is in use. */
  #base: ServedModel | undefined;
  #used: { readonly served: ServedModel; readonly held: HeldModel } | undefined;

  private constructor({ log, ...options }: HttpFrontOptions) {
    this.#server = new HttpServer({
      ...options,
      models: { list: () => this.#models() },
      onFailure: (error, id) => log("error", `${id}: ${error}`),
    });
  }

  /**
   * Listens; requests get 503 until there is a model. On a socket that was handed over they wait instead.
   *
   * @throws {StorageError} if the address cannot be used
   */
  static async open(options: HttpFrontOptions): Promise<HttpFront> {
    const front = new HttpFront(options);
    if (!front.#server.isHanded) await front.#server.listen();
    return front;
  }

  /** The port. */
  port(): Promise<number> {
    return this.#server.listen();
  }

  /** Answers requests for the base and its adapters, once there is a model in use; nobody closes it here. */
  keepBase(base: ServedModel): void {
    this.#base = base;
  }

  /**
   * Answers with another model from the next request on.
   *
   * @param id its name for requests
   * @returns resolves when no request uses the model before any more
   * @throws {StorageError} if the socket that was handed over cannot be used
   */
  async use(id: string, model: InferenceModel): Promise<void> {
    const before = this.#used;
    const held = new HeldModel(model);
    const served = model === this.#base?.model
      ? this.#base
      : { id, created: unixSeconds(), model, hold: () => held.hold() };
    this.#used = { served, held };
    await this.#server.listen();
    await before?.held.retire();
  }

  /**
   * Refuses new requests, and ends when those in work are answered, or after `boundMs`.
   *
   * @returns whether all were answered
   */
  drain(boundMs: number): Promise<boolean> {
    return this.#server.drain(boundMs);
  }

  /** The model in use, which requests get that name none, and the base. */
  #models(): readonly ServedModel[] {
    if (this.#used === undefined) return [];
    const { served } = this.#used;
    return this.#base === undefined || this.#base === served ? [served] : [served, this.#base];
  }
}
