/** Weights that leave memory once others have been made from them. */
import type { PlannedCall } from "./call.ts";
import type { TrainingPlan } from "./plan.ts";

/** The parts of a plan that tell which weights are read, and when. */
type Weights = Pick<TrainingPlan, "preprocessing" | "constants"> & {
  readonly training: Pick<TrainingPlan["training"], "calls">;
};

/**
 * Bytes of the weights from which a plan makes others and that it no longer reads under any name: a table of
 * embeddings may also be the head's weight, from which others are made chunk by chunk.
 */
export function replacedBytes({ preprocessing, training, constants }: Weights): number {
  const read = (calls: readonly PlannedCall[]) => {
    const names = new Set(calls.flatMap(({ feeds }) => [...feeds.values()]));
    return [...names].flatMap((name) => constants.get(name)?.bytes ?? []);
  };
  const still = read(training.calls);
  return read(preprocessing).filter((bytes) => !still.some((other) => overlap(bytes, other)))
    .reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength;
}
