/**
 * A connection of two ranks for messages of any size, on which silence is noticed: each side says every second
 * that it lives, unless its event loop is busy.
 */
import type { Mpi, MpiRequest } from "../../ffi/mpi.ts";
import type { LostPeerError } from "../train/lost_peer_error.ts";

/** Tags of what begins a message, and of its bytes. */
const HEAD = 5;
const BODY = 6;
/** Milliseconds between looks for messages: what passes on a line takes seconds and more. */
const LOOK_EVERY_MS = 10;
/** Milliseconds between signs of life. */
const BEAT_EVERY_MS = 1000;
/** Bytes a second that the slowest wire brings. */
const LEAST_BYTES_PER_SECOND = 1e5;

/** What makes a line between two ranks. */
export interface LineEnds {
  readonly mpi: Mpi;
  /** The rank at the other end. */
  readonly rank: number;
  /** Seconds that this side may be silent, until it says otherwise. */
  readonly patience: number;
  /** The error of a rank that has been silent for so many seconds. */
  readonly lost: (rank: number, seconds: number) => LostPeerError;
}

/** One end of a line. */
export class Line implements Disposable {
  readonly #ends: LineEnds;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #messages: Uint8Array<ArrayBuffer>[] = [];
  #waiting: PromiseWithResolvers<Uint8Array<ArrayBuffer>> | undefined;
  #failure: unknown;
  #sent: MpiRequest[] = [];
  #lastSent = -Infinity;
  #patience: number;
  /** The last that was heard, and the seconds of silence that the other side has asked for. */
  #heard = performance.now();
  #mayBeSilent: number;
  #head: Arriving | undefined;
  #body: Arriving | undefined;

  constructor(ends: LineEnds) {
    this.#ends = ends;
    this.#patience = ends.patience;
    this.#mayBeSilent = ends.patience;
    this.#timer = setInterval(() => this.#tick(), LOOK_EVERY_MS);
  }

  /** The rank at the other end. */
  get rank(): number {
    return this.#ends.rank;
  }

  /** Asks for so many seconds of silence at most from now on. */
  askPatience(seconds: number): void {
    this.#patience = seconds;
    this.#sendHead(0);
  }

  /** Sends a message, which must not be empty. */
  send(message: Uint8Array<ArrayBuffer>): void {
    this.#sendHead(message.length);
    this.#sent.push(this.#ends.mpi.send(message, this.rank, BODY));
  }

  /**
   * The next message.
   *
   * @throws {LostPeerError} if the other side is silent for too long
   * @throws {MpiError} if the library fails
   */
  receive(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const message = this.#messages.shift();
    if (message !== undefined) return Promise.resolve(message);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  /** Waits until what was sent is taken, and falls silent. */
  async close(): Promise<void> {
    while (this.#failure === undefined && this.#sent.length > 0) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    clearInterval(this.#timer);
  }

  /** Takes the last signs of life of a side that has fallen silent: a job is left without open messages. */
  drain(): void {
    while (this.#arrives());
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #sendHead(length: number): void {
    const head = Float64Array.of(length, this.#patience);
    this.#sent.push(this.#ends.mpi.send(new Uint8Array(head.buffer), this.rank, HEAD));
    this.#lastSent = performance.now();
  }

  #tick(): void {
    try {
      this.#sent = this.#sent.filter((request) => !request.test());
      while (this.#arrives());
      const isDue = performance.now() - this.#lastSent > BEAT_EVERY_MS;
      // A message on its way, or a sign that nobody takes, is not followed by more.
      if (isDue && this.#sent.length === 0) this.#sendHead(0);
      const seconds = this.#mayBeSilent + (this.#body?.bytes.length ?? 0) / LEAST_BYTES_PER_SECOND;
      if (performance.now() - this.#heard > 1000 * seconds) {
        throw this.#ends.lost(this.rank, seconds);
      }
    } catch (error) {
      clearInterval(this.#timer);
      this.#failure = error;
      this.#waiting?.reject(error);
    }
  }

  /** Takes the next part of a message; false if it has not come. */
  #arrives(): boolean {
    const { mpi, rank } = this.#ends;
    if (this.#body !== undefined) {
      if (!this.#body.request.test()) return false;
      const { bytes } = this.#body;
      this.#body = undefined;
      this.#heard = performance.now();
      if (this.#waiting === undefined) this.#messages.push(bytes);
      else this.#waiting.resolve(bytes);
      this.#waiting = undefined;
      return true;
    }
    if (this.#head === undefined) {
      if (!mpi.hasMessage(rank, HEAD)) return false;
      const bytes = new Uint8Array(2 * Float64Array.BYTES_PER_ELEMENT);
      this.#head = { bytes, request: mpi.receive(bytes, rank, HEAD) };
    }
    if (!this.#head.request.test()) return false;
    const [length, silence] = new Float64Array(this.#head.bytes.buffer);
    this.#head = undefined;
    this.#heard = performance.now();
    this.#mayBeSilent = silence;
    if (length > 0) {
      const bytes = new Uint8Array(length);
      this.#body = { bytes, request: mpi.receive(bytes, rank, BODY) };
    }
    return true;
  }
}

/** Bytes that a rank is sending. */
interface Arriving {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly request: MpiRequest;
}
