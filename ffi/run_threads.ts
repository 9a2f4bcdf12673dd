/**
 * Threads that execute lists of runs in parallel, each list on one thread from start to end. If all
 * cores are busy, single calls on another thread (Deno's non-blocking ones) lose much time: each wakes
 * the event loop and another thread, and both wait for a core.
 */
import type { Ort } from "./api.ts";
import { type EncodedLists, giveUp, type ListEnd } from "./run_lists.ts";
import type { Order } from "./run_lists_worker.ts";
import { SLOTS } from "./slots.ts";
import { unwrap } from "./status.ts";

/** Disposing of it while lists run takes effect when they have ended. */
export class RunThreads implements Disposable {
  readonly #ort: Ort;
  readonly #workers: Worker[] = [];
  /** Settles when the current lists have ended. */
  #last: Promise<unknown> = Promise.resolve();
  #running = 0;
  #disposed = false;

  constructor(ort: Ort) {
    this.#ort = ort;
  }

  /**
   * Executes all lists in parallel, after earlier ones have ended; settles when the last has ended.
   *
   * @param onFailure called with the first failed run, of the lists in order; throws the error to report
   */
  async carryOut(
    encoded: EncodedLists,
    onFailure: (list: number, run: number, raise: () => void) => void,
  ): Promise<void> {
    this.#running++;
    const turn = this.#last.then(() => this.#endsOf(encoded));
    this.#last = turn.catch(() => {});
    const ends = await turn;
    const failed = ends.flatMap(({ status, done }, list) =>
      status === 0n ? [] : [{ list, run: done, status: Deno.UnsafePointer.create(status) }]
    );
    const { api } = this.#ort;
    for (const { status } of failed.slice(1)) api.ReleaseStatus(status);
    for (const { list, run, status } of failed.slice(0, 1)) {
      onFailure(list, run, () => unwrap(api, status));
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    if (this.#running > 0) return;
    for (const worker of this.#workers) worker.terminate();
    this.#workers.length = 0;
  }

  async #endsOf(encoded: EncodedLists): Promise<ListEnd[]> {
    try {
      const ends = await Promise.allSettled(
        encoded.lists.map((_, number) => this.#order(encoded, number)),
      );
      return ends.map((end) => {
        if (end.status === "rejected") throw end.reason;
        return end.value;
      });
    } finally {
      this.#running--;
      if (this.#disposed) this[Symbol.dispose]();
    }
  }

  #order(encoded: EncodedLists, number: number): Promise<ListEnd> {
    const worker = this.#workers[number] ??= this.#start();
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        delete this.#workers[number];
        giveUp(encoded, number);
        reject(new Error(event.message));
      };
      worker.postMessage({ encoded, number } satisfies Order);
    });
  }

  #start(): Worker {
    const url = new URL("./run_lists_worker.ts", import.meta.url);
    const worker = new Worker(url, { type: "module" });
    const table = new Deno.UnsafePointerView(this.#ort.table);
    const address = (name: "RunHere" | "ReleaseValue") => table.getBigUint64(8 * SLOTS[name].slot);
    worker.postMessage({ run: address("RunHere"), release: address("ReleaseValue") });
    return worker;
  }
}
