/** Other processes that train the same adapter, each on its own rows of every batch. */
import type { Parameter } from "./step.ts";

/** The processes of a job, seen from one of them. All must call the same functions in the same order. */
export interface Peers {
  /** Number of this process, from 0; the first one writes and reports. */
  readonly rank: number;
  /** Processes of the job, at least 2. */
  readonly count: number;
  /** Fires in all processes during the same call of {@linkcode sum}, once one of them is asked to end. */
  readonly ending: AbortSignal;
  /**
   * Sums numbers over all processes, in double precision.
   *
   * @throws {LostPeerError} if one of them does not answer in time
   */
  sum(numbers: readonly number[]): Promise<readonly number[]>;
  /**
   * Sums the gradients of all processes, in place.
   *
   * @throws {LostPeerError} if one of them does not answer in time
   */
  sumGradients(parameters: readonly Parameter[]): Promise<void>;
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
