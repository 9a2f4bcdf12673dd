/**
 * Compares what training computes from a batch with what the user's graph computes, before the first step.
 */
import { type RowCut, withoutPadding } from "../data/row_cuts.ts";
import type { TokenBatch } from "../data/targets.ts";
import type { Model } from "../graph/types.ts";
import type { Runner } from "../runtime/runner.ts";
import { compareForward } from "../train/compare_forward.ts";
import type { Peers } from "../train/peers.ts";
import type { PlannedModel } from "../train/planned_model.ts";
import type { OnEvent, PreparationEvent } from "./events.ts";

/**
 * @param model the model with the adapter
 * @param peers processes that compute other layers, if one does not compute all
 * @returns which sequences the model runs together
 * @throws {RefusedError} if the logits differ beyond what the graph's own rounding explains
 * @throws {BadInputError} if the user's graph computes NaN or infinities
 */
export async function checkForward(
  runner: Runner,
  model: Model,
  step: PlannedModel,
  batch: TokenBatch,
  onEvent: OnEvent<PreparationEvent>,
  peers?: Peers,
): Promise<RowCut> {
  const { relativeDifference, dynamic, half, cut } = await compareForward(
    runner,
    model,
    step,
    batch,
    peers,
  );
  if (cut === withoutPadding) onEvent({ kind: "padding matters" });
  if (dynamic || half) {
    const why = dynamic ? "integer activations" : "float16";
    onEvent({ kind: "forward differs", why, relativeDifference });
  }
  return cut;
}
