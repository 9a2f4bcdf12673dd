/** Other processes that train the same adapter, each on its own rows of every batch. */
import type { Part } from "../data/deal_rows.ts";
import type { Pipeline } from "./pipeline.ts";
import type { OnGradient, Parameter } from "./step.ts";

/** Sums of a step's gradients over all processes, begun while some are still computed. */
export interface GradientSums {
  /** Takes the gradients that are complete in this process. */
  readonly onGradient: OnGradient;
  /**
   * Sums those that are left, too, and waits for all: they are then in place.
   *
   * @throws {LostPeerError} if a process does not answer in time
   */
  end(): Promise<void>;
}

/** The processes of a job, seen from one of them. All must call the same functions in the same order. */
export interface Peers {
  /** Number of this process, from 0; the first one writes and reports. */
  readonly rank: number;
  /** Processes of the job, at least 2. */
  readonly count: number;
  /** Seconds spent waiting for sums so far: the wire, and the slowest process. */
  readonly waited: number;
  /** The share of each batch's rows that this process computes; all stages of a pipeline have the same. */
  readonly share: Part;
  /** The processes that compute the other layers of these rows, if one does not compute all. */
  readonly pipeline?: Pipeline;
  /** Fires in all processes during the same call of {@linkcode sum}, once one of them is asked to end. */
  readonly ending: AbortSignal;
  /**
   * Sums numbers over all processes, in double precision.
   *
   * @throws {LostPeerError} if one of them does not answer in time
   */
  sum(numbers: readonly number[]): Promise<readonly number[]>;
  /** Sums of the gradients of a step that begins, to be ended before any other function is called. */
  gradientSums(parameters: readonly Parameter[]): GradientSums;
  /**
   * Compares the parameters of all processes, and gives all those of the first if they differ.
   *
   * @returns whether they differed
   * @throws {LostPeerError} if one of them does not answer in time
   */
  align(parameters: readonly Parameter[]): Promise<boolean>;
  /**
   * Gives all processes the bytes of the first.
   *
   * @param bytes ignored in the others
   * @throws {LostPeerError} if one of them does not answer in time
   */
  broadcast(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** A number of each process, by rank. */
export function ofAll(peers: Peers, number: number): Promise<readonly number[]> {
  return peers.sum(
    Array.from({ length: peers.count }, (_, rank) => rank === peers.rank ? number : 0),
  );
}
