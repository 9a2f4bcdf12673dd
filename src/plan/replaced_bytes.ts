/** Weights that leave memory once others are made of them. */
import type { PlannedCall } from "./call.ts";
import type { TrainingPlan } from "./plan.ts";

/** What of a plan tells which weights are read, and when. */
type Weights = Pick<TrainingPlan, "preprocessing" | "constants"> & {
  readonly training: Pick<TrainingPlan["training"], "calls">;
};

/**
 * Bytes of the weights that a plan makes others of and does not read any more, under whatever name: a
 * table of embeddings may be the head's weight, of which others are made chunk by chunk.
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
