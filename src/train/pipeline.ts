/** The processes that compute the other layers of the same rows: a pipeline, seen from one of its stages. */

/** A stage's neighbours. */
export type Neighbour = "before" | "next";

/** Bytes that are on their way. */
export interface Incoming {
  /**
   * Waits for them.
   *
   * @throws {LostPeerError} if they do not come in time
   */
  arrived(): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * The links of a stage to its neighbours. What is sent to one of them arrives in the order in which it was
 * sent.
 */
export interface Pipeline {
  /** Number of this stage, from 0: the first reads the tokens. */
  readonly stage: number;
  /** Number of stages, at least 2; the last computes the loss. */
  readonly stages: number;
  /**
   * Sends bytes, which must not change any more. It does not wait for their arrival, only for that of
   * earlier ones if there are many.
   *
   * @throws {LostPeerError} if the neighbour does not take those in time
   */
  send(to: Neighbour, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Begins to receive the next bytes. */
  receive(from: Neighbour, sizeBytes: number): Incoming;
}

/**
 * Micro-batches of a batch for each stage of a pipeline of S. A stage has nothing to do for (S − 1) / (M + S −
 * 1) of the time if there are M micro-batches: a fifth to a third with this many.
 */
const PARTS_PER_STAGE = 2;

/** The least number of micro-batches that a batch is cut into, if it has as many sequences. */
export const leastParts = (pipeline: Pipeline | undefined): number =>
  pipeline === undefined ? 1 : PARTS_PER_STAGE * pipeline.stages;

/** Whether a process computes the loss: the only one, or the last stage. */
export const hasLoss = (pipeline: Pipeline | undefined): boolean =>
  pipeline === undefined || pipeline.stage === pipeline.stages - 1;
