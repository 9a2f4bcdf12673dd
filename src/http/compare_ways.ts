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
const MOST_ROUNDS = 15;
/** Rounds beside no request, after which no more are needed, and from which on the others do not count. */
const ENOUGH_ALONE = 5;
const LEAST_ALONE = 3;
/** Few, so that a run is over soon if requests are in work. */
const TOKENS = 4;
/** Time for requests in work after a run, in times of the run. */
const REST = 3;
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
  const run = async (model: InferenceModel, adapter?: AdapterMatrices): Promise<number> => {
    const start = performance.now();
    const { ids } = await model.complete(PROMPT, { maxTokens: TOKENS, adapter, signal });
    const ms = performance.now() - start;
    if (isBusy()) await new Promise((rested) => setTimeout(rested, REST * ms));
    return ms / Math.max(1, ids.length);
  };
  const round = async () => {
    const before = isBusy();
    const times = { bound: await run(base, matrices), merged: await run(merged) };
    return { ...times, isAlone: !before && !isBusy() };
  };
  // The first one plans memory.
  await round();
  const rounds: Awaited<ReturnType<typeof round>>[] = [];
  const alone = () => rounds.filter(({ isAlone }) => isAlone);
  while (rounds.length < MOST_ROUNDS && alone().length < ENOUGH_ALONE) rounds.push(await round());
  const counted = alone().length >= LEAST_ALONE ? alone() : rounds;
  return {
    bound: median(counted.map(({ bound }) => bound)),
    merged: median(counted.map(({ merged }) => merged)),
  };
}
