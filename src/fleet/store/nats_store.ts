/**
 * A fleet's store in NATS JetStream: a key-value bucket with the order, an object store of the same name
 * with the pieces, and a bucket with a key for each box.
 *
 * Source: NATS's architecture decision records ADR-8 (key-value store) and ADR-20 (object store).
 */
import {
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  jetstreamManager,
  StorageType,
} from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import { type ObjectStore, Objm } from "@nats-io/obj";
import type { NatsConnection } from "@nats-io/transport-node";
import { BadInputError, BusyError, GraftError } from "../../errors.ts";
import { isDigest } from "../release/order.ts";
import { isBoxName } from "../release/report.ts";
import { asGraftError, connectNats, type NatsSettings } from "./nats_connect.ts";
import { PieceCheck } from "./piece_check.ts";
import type { FleetStore, StoredOrder } from "./store.ts";

/** Key of the order in its bucket. */
const ORDER = "order";
/** Most that a bucket of NATS keeps of one key. */
const HISTORY = 64;
/** Most chunks of a piece: with the 128 KiB that are usual it has 32. */
const MOST_CHUNKS = 4096;

export interface BucketSettings {
  /** Name of the buckets: the fleet's. */
  readonly bucket: string;
  readonly replicas: number;
  /** Prefix of the subjects of JetStream's API, for a leaf node. */
  readonly jsDomain?: string;
}

export class NatsStore implements FleetStore {
  readonly address: string;
  readonly #client: JetStreamClient;
  #watching: Promise<void> | undefined;
  /** Revision of the order that the watch has seen last. */
  #seen: number | undefined;
  /** Wakes who waits. */
  #ring = () => {};
  #opened: { orders?: KV; boxes?: KV; pieces?: ObjectStore; manager?: JetStreamManager } = {};

  private constructor(
    readonly connection: NatsConnection,
    readonly settings: NatsSettings,
    readonly buckets: BucketSettings,
  ) {
    this.address = `${settings.server}, bucket ${buckets.bucket}`;
    const { timeoutMs: timeout } = settings;
    this.#client = jetstream(connection, { timeout, domain: buckets.jsDomain });
  }

  static async open(settings: NatsSettings, buckets: BucketSettings): Promise<NatsStore> {
    return new NatsStore(await connectNats(settings), settings, buckets);
  }

  create(): Promise<void> {
    return this.#attempt(async () => {
      const { bucket, replicas } = this.buckets;
      const storage = StorageType.File;
      const kvm = new Kvm(this.#client);
      const orders = await kvm.create(bucket, { history: HISTORY, replicas, storage });
      const boxes = await kvm.create(boxesOf(bucket), { history: 1, replicas, storage });
      const pieces = await new Objm(this.#client).create(bucket, { storage, replicas });
      this.#opened = { orders, boxes, pieces };
    });
  }

  order(): Promise<StoredOrder | undefined> {
    return this.#attempt(async () => {
      const entry = await (await this.#orders()).get(ORDER);
      if (entry === null) return undefined;
      if (entry.operation === "PUT") return { bytes: entry.value, revision: entry.revision };
      throw new BadInputError(
        `${this.address}: the order was deleted: give one again (graft fleet publish or rollback)`,
      );
    });
  }

  orders(): Promise<Uint8Array[]> {
    return this.#attempt(async () => {
      const kept: Uint8Array[] = [];
      for await (const entry of await (await this.#orders()).history({ key: ORDER })) {
        if (entry.operation === "PUT") kept.push(entry.value);
      }
      return kept.reverse();
    });
  }

  putOrder(envelope: Uint8Array<ArrayBuffer>, after: number | undefined): Promise<void> {
    return this.#attempt(async () => {
      const largest = this.connection.info?.max_payload ?? Infinity;
      if (envelope.length > largest) {
        throw new BadInputError(
          `The order has ${envelope.length} bytes, and ${this.address} takes ${largest}: raise the ` +
            "server's max_payload, or publish an adapter instead of a merged model",
        );
      }
      const orders = await this.#orders();
      try {
        if (after === undefined) await orders.create(ORDER, envelope);
        else await orders.update(ORDER, envelope, after);
      } catch (cause) {
        if (!/wrong last sequence/i.test((cause as Error).message)) throw cause;
        throw new BusyError(`Somebody else has given an order to ${this.address}: try again`, {
          cause,
        });
      }
    });
  }

  putPiece(digest: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#attempt(async () => {
      await (await this.#pieces()).putBlob({ name: digest }, bytes);
    });
  }

  piece(digest: string, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#attempt(async () => {
      const missing = () =>
        new BadInputError(`${this.address}: piece ${digest} is missing: publish the release again`);
      const info = await (await this.#pieces()).info(digest);
      if (info === null || info.deleted === true) throw missing();
      // The order's digest decides, not the one that the store says.
      const check = new PieceCheck(digest, sizeBytes, this.address);
      const { bucket } = this.buckets;
      const subject = `$O.${bucket}.C.${info.nuid}`;
      // One by one: reading an object as the library does leaves a consumer on the server for minutes.
      for (let [seq, i] = [1, 0]; i < Math.min(info.chunks, MOST_CHUNKS); i++) {
        const chunk = await this.#manager().then((manager) =>
          manager.direct.getMessage(`OBJ_${bucket}`, { seq, next_by_subj: subject })
        );
        if (chunk === null) break;
        check.add(chunk.data);
        seq = chunk.seq + 1;
      }
      return check.end();
    });
  }

  pieces(): Promise<string[]> {
    return this.#attempt(async () => {
      const list = await (await this.#pieces()).list();
      return list.map(({ name }) => name).filter(isDigest);
    });
  }

  removePiece(digest: string): Promise<void> {
    return this.#attempt(async () => {
      await (await this.#pieces()).delete(digest);
    });
  }

  report(box: string, report: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#attempt(async () => {
      await (await this.#boxes()).put(box, report);
    });
  }

  reports(): Promise<ReadonlyMap<string, Uint8Array>> {
    return this.#attempt(async () => {
      const found = new Map<string, Uint8Array>();
      for await (const { key, value, operation } of await (await this.#boxes()).history()) {
        if (operation !== "PUT") found.delete(key);
        else if (isBoxName(key)) found.set(key, value);
      }
      return found;
    });
  }

  async changed(revision: number | undefined, waitMs: number, signal: AbortSignal): Promise<void> {
    this.#watching ??= this.#watch().finally(() => this.#watching = undefined);
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#ring = () => {};
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      signal.addEventListener("abort", done);
      this.#ring = () => {
        if (this.#seen !== undefined && this.#seen !== revision) done();
      };
      if (signal.aborted) done();
      else this.#ring();
    });
  }

  /** Watches the order as long as the server lets it; a watch that ended begins with the next wait. */
  async #watch(): Promise<void> {
    try {
      for await (const { revision } of await (await this.#orders()).watch({ key: ORDER })) {
        this.#seen = revision;
        this.#ring();
      }
    } catch {
      // time wakes, too
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }

  async #orders(): Promise<KV> {
    return this.#opened.orders ??= await this.#open(this.buckets.bucket);
  }

  async #boxes(): Promise<KV> {
    return this.#opened.boxes ??= await this.#open(boxesOf(this.buckets.bucket));
  }

  #open(bucket: string): Promise<KV> {
    // A box may have no right to look at the bucket's settings.
    return new Kvm(this.#client).open(bucket, {
      bindOnly: true,
      allow_direct: true,
      timeout: this.settings.timeoutMs,
    });
  }

  async #manager(): Promise<JetStreamManager> {
    const { settings: { timeoutMs: timeout }, buckets: { jsDomain: domain } } = this;
    return this.#opened.manager ??= await jetstreamManager(this.connection, {
      ...{ timeout, domain },
      checkAPI: false,
    });
  }

  async #pieces(): Promise<ObjectStore> {
    return this.#opened.pieces ??= await new Objm(this.#client).open(this.buckets.bucket, false);
  }

  async #attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof GraftError) throw error;
      throw asGraftError(error, this.address);
    }
  }
}

const boxesOf = (bucket: string) => `${bucket}-boxes`;
