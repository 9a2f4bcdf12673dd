/** A written merge whose scales are tuned on data, in a folder of its own. */
import { basename, join } from "@std/path";
import { BadInputError, RefusedError, UsageError } from "../errors.ts";
import type { AdapterChanges } from "../lora/merge/mod.ts";
import type { Runner } from "../runtime/runner.ts";
import { openMapped } from "../system/mapped_file.ts";
import { giveBackFreed } from "../system/memory.ts";
import { loadOnnx } from "./load_onnx.ts";
import type { MergeProgress } from "./merge_progress.ts";
import type { MergeRequest, ScaleTuner } from "./merge_request.ts";
import { type RefusedMerge, writeMerged, type WrittenMerge } from "./write_merged.ts";

/**
 * Tunes the scales of what a way of rounding has written. Its matrices' reports are those of the start:
 * they no longer hold.
 *
 * @param how how often it has been tuned before, how fast and towards what to tune it
 */
export async function writeTuned(
  runner: Runner,
  request: MergeRequest,
  changes: AdapterChanges,
  { directory, matrices }: WrittenMerge,
  how: Pick<Parameters<ScaleTuner>[2], "round" | "learningRate" | "teacher">,
  progress: MergeProgress,
): Promise<WrittenMerge | RefusedMerge> {
  const { base, tune, signal } = request;
  const path = join(directory.path, basename(base.path));
  using written = loadOnnx(path, openMapped);
  const paths = new Set(changes.changes.map(({ path }) => path));
  try {
    const scales = await progress.run("tuning", (tell) =>
      tune!(written.model, paths, {
        ...how,
        onStep: (step, steps, loss) =>
          tell(`Tuning scales: step ${step} of ${steps}, loss ${loss.toFixed(4)}`, step / steps),
        signal,
      }));
    giveBackFreed();
    const tuned = await progress.run("scales", () =>
      writeMerged({
        ...request,
        onProgress: undefined,
        base: { path, model: written.model, sizeBytes: written.sizeBytes },
        runner,
        changes: {
          changes: [...scales].map(([path, update]) => ({
            path,
            updates: [],
            scaleUpdates: [update],
          })),
        },
        method: "scales",
      }));
    return "directory" in tuned
      ? { method: "tuned", directory: tuned.directory, matrices }
      : { ...tuned, method: "tuned" };
  } catch (error) {
    // A model that merges need not be one that trains.
    const canDoWithout = error instanceof UsageError || error instanceof BadInputError ||
      error instanceof RefusedError;
    if (!canDoWithout) throw error;
    return { method: "tuned", refused: new RefusedError(error.message, { cause: error }) };
  }
}
