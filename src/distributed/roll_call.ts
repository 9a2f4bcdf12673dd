/**
 * Finds out which ranks are lost while a collective operation does not end.
 *
 * Rank 0 asks all others every few seconds that it waits; they answer while they wait themselves. That a
 * rank took part in the operation would not tell: it may have been lost since. And one that has not begun
 * it may wait in an earlier one, for the same lost rank.
 */
import { type Mpi, MpiError, type MpiRequest } from "../../ffi/mpi.ts";

/** Tags of rank 0's question and of the answers. */
const [ASKED, ANSWERED] = [1, 2];
/**
 * Seconds of waiting after which to ask, and to ask those who have answered again. UCX notices a broken
 * connection after twenty, and MPICH 5.0 crashes if it is to send over one that it knows to be broken.
 */
const ASK_EVERY = 3;
/** Milliseconds in which a rank that waits itself answers. */
const ANSWERS_WITHIN_MS = 2000;
/** Milliseconds between looks for answers. */
const LOOK_EVERY_MS = 1;

export class RollCall {
  readonly #mpi: Mpi;
  readonly #askEveryMs: number;
  /** As rank 0: the answers that have not come, by rank; `undefined` for one that cannot be asked. */
  readonly #owed = new Map<number, MpiRequest | undefined>();
  /** Messages on their way, whose bytes must stay. */
  #sent: MpiRequest[] = [];
  /** Milliseconds of the wait after which it asked last. */
  #askedAtMs: number | undefined;

  /** @param timeout seconds after which an operation that does not end is given up */
  constructor(mpi: Mpi, timeout: number) {
    this.#mpi = mpi;
    this.#askEveryMs = 1000 * Math.min(ASK_EVERY, timeout / 2);
  }

  /** A wait begins. */
  begin(): void {
    this.#askedAtMs = undefined;
  }

  /**
   * To be called again and again by a rank that waits, with the milliseconds that it has waited.
   *
   * @throws {MpiError} if rank 0 cannot be answered
   */
  goOn(waitedMs: number): void {
    if (this.#mpi.rank > 0) return this.#answer();
    this.#look();
    if (waitedMs >= (this.#askedAtMs ?? 0) + this.#askEveryMs) this.#ask(waitedMs);
  }

  /** As rank 0: those who do not answer. */
  async missing(): Promise<readonly number[]> {
    if (this.#askedAtMs === undefined) this.#ask(0);
    // The last question may have been a moment ago.
    const until = performance.now() + ANSWERS_WITHIN_MS;
    while (this.#owed.size > 0 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      this.#look();
    }
    return [...this.#owed.keys()].sort((a, b) => a - b);
  }

  #look(): void {
    for (const [rank, answer] of this.#owed) {
      if (unlessBroken(() => answer?.test())) this.#owed.delete(rank);
    }
  }

  #ask(waitedMs: number): void {
    this.#askedAtMs = waitedMs;
    this.#forgetArrived();
    for (let rank = 1; rank < this.#mpi.size; rank++) {
      // One that was slow owes the answer to an earlier question.
      if (this.#owed.has(rank)) continue;
      const answer = unlessBroken(() => {
        this.#sent.push(this.#mpi.send(new Uint8Array(1), rank, ASKED));
        return this.#mpi.receive(new Uint8Array(1), rank, ANSWERED);
      });
      this.#owed.set(rank, answer);
    }
  }

  /** A run lasts for days: what has arrived is not kept. */
  #forgetArrived(): void {
    this.#sent = this.#sent.filter((request) => !unlessBroken(() => request.test()));
  }

  #answer(): void {
    if (!this.#mpi.hasMessage(0, ASKED)) return;
    this.#forgetArrived();
    this.#sent.push(
      this.#mpi.receive(new Uint8Array(1), 0, ASKED),
      this.#mpi.send(new Uint8Array(1), 0, ANSWERED),
    );
  }
}

/** `undefined` if the library says that the other rank is gone. */
function unlessBroken<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof MpiError) return undefined;
    throw error;
  }
}
