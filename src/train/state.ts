/** Where a run stands: everything, besides tensors, that a resume needs. */
import { Random } from "../random.ts";

/** A position in the data: the next micro-batch. */
export interface DataPosition {
  readonly epoch: number;
  readonly batchIndex: number;
}

/** The best evaluation so far. */
export interface Best {
  /** Step of the evaluation. */
  readonly step: number;
  /** Its mean loss in nats. */
  readonly loss: number;
}

export interface TrainState {
  /** Updates attempted so far, skipped ones included. */
  readonly step: number;
  readonly position: DataPosition;
  /** State of the dropout generator ({@linkcode Random.state}). */
  readonly random: string;
  /** Step of the last evaluation; -1 before the first. */
  readonly evaluatedStep: number;
  readonly best?: Best;
  /** Evaluations since the best one. */
  readonly evaluationsSinceBest: number;
  /** Steps in a row that were skipped because a number was not finite. */
  readonly skippedInARow: number;
  /** Real tokens seen. */
  readonly tokens: number;
  /** Whether `StepModel.widen` was needed; a resumed run then calls it at the start. */
  readonly widened?: boolean;
}

/** The state before the first step. */
export function initialState(seed: number): TrainState {
  return {
    step: 0,
    position: { epoch: 0, batchIndex: 0 },
    random: Random.fromSeed(seed).state,
    evaluatedStep: -1,
    evaluationsSinceBest: 0,
    skippedInARow: 0,
    tokens: 0,
  };
}
