/** A stage's links to its neighbours over MPI, by messages that never block. */
import { type Mpi, MpiError, type MpiRequest } from "../../ffi/mpi.ts";
import type { Incoming, Neighbour, Pipeline } from "../train/pipeline.ts";

/** Tags of messages by direction. */
const TAGS: Readonly<Record<"down" | "up", number>> = { down: 3, up: 4 };
/**
 * Milliseconds between questions while this rank computes: the library moves large messages on only when it
 * is asked.
 */
const ASK_EVERY_MS = 1;
/** Milliseconds in which the last messages, which have been received, are done with. */
const END_MS = 1000;

/** Ranks in a row are the stages of a pipeline. */
export class StageLinks implements Pipeline {
  readonly stage: number;
  readonly stages: number;
  readonly #mpi: Mpi;
  readonly #wait: (requests: readonly MpiRequest[]) => Promise<void>;
  /** What is sent and perhaps not yet taken, oldest first. */
  readonly #sent: MpiRequest[] = [];
  /** All that is on its way. */
  #open: MpiRequest[] = [];

  /** @param wait waits for requests, but not for ever */
  constructor(
    mpi: Mpi,
    { stage, stages }: Pick<Pipeline, "stage" | "stages">,
    wait: (requests: readonly MpiRequest[]) => Promise<void>,
  ) {
    this.#mpi = mpi;
    this.stage = stage;
    this.stages = stages;
    this.#wait = wait;
  }

  async send(to: Neighbour, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const tag = to === "next" ? TAGS.down : TAGS.up;
    this.#sent.push(this.#watched(this.#mpi.send(bytes, this.#rankOf(to), tag)));
    // One frozen stage could else run ahead of all others, until memory is full.
    while (this.#sent.length > this.stages) await this.#wait([this.#sent.shift()!]);
  }

  receive(from: Neighbour, sizeBytes: number): Incoming {
    const bytes = new Uint8Array(sizeBytes);
    const tag = from === "before" ? TAGS.down : TAGS.up;
    const request = this.#watched(this.#mpi.receive(bytes, this.#rankOf(from), tag));
    return {
      arrived: async () => {
        await this.#wait([request]);
        return bytes;
      },
    };
  }

  /** Finishes what was sent and received, before the job is left. */
  end(): void {
    const until = performance.now() + END_MS;
    while (this.#open.some((request) => !request.test()) && performance.now() < until);
  }

  #rankOf(neighbour: Neighbour): number {
    return neighbour === "next" ? this.#mpi.rank + 1 : this.#mpi.rank - 1;
  }

  #watched(request: MpiRequest): MpiRequest {
    this.#open.push(request);
    if (this.#open.length === 1) this.#watch();
    return request;
  }

  /** Lets the library go on while there is something to do. */
  #watch(): void {
    const timer = setTimeout(() => {
      try {
        this.#open = this.#open.filter((request) => !request.test());
      } catch (error) {
        // Whoever waits for it is told.
        if (error instanceof MpiError) return;
        throw error;
      }
      if (this.#open.length > 0) this.#watch();
    }, ASK_EVERY_MS);
    Deno.unrefTimer(timer);
  }
}
