/** Times both ways in which an adapter can answer: as inputs of the base, and merged. */
import type { AdapterMatrices } from "../serve/adapter_inputs.ts";
import { median } from "../statistics.ts";
import type { InferenceModel } from "../tasks/inference_model.ts";

/** Milliseconds per generated token, prompt included; medians over rounds. */
export interface WayTimes {
  readonly bound: number;
  readonly merged: number;
}

/** Interleaved, so that other work slows both. */
const ROUNDS = 9;
/** Few, so that a run is over soon where requests are in work. */
const TOKENS = 12;
/** Time for requests in work after a run, in times of the run. */
const REST = 2;
const PROMPT = "What should the operator of the machine look at first?";

/**
 * @param signal ends the comparison
 * @param isBusy whether requests are in work that it should not slow down
 */
export async function compareWays(
  base: InferenceModel,
  matrices: AdapterMatrices,
  merged: InferenceModel,
  signal: AbortSignal,
  isBusy: () => boolean,
): Promise<WayTimes> {
  const times = { bound: [] as number[], merged: [] as number[] };
  const run = async (model: InferenceModel, adapter?: AdapterMatrices): Promise<number> => {
    const start = performance.now();
    const { ids } = await model.complete(PROMPT, { maxTokens: TOKENS, adapter, signal });
    const ms = performance.now() - start;
    if (isBusy()) await new Promise((rested) => setTimeout(rested, REST * ms));
    return ms / Math.max(1, ids.length);
  };
  for (let round = 0; round <= ROUNDS; round++) {
    const [bound, own] = [await run(base, matrices), await run(merged)];
    // The first round plans memory.
    if (round === 0) continue;
    times.bound.push(bound);
    times.merged.push(own);
  }
  return { bound: median(times.bound), merged: median(times.merged) };
}
