/**
 * Times batches whose parts are computed beside each other, a thread for each, and the same batches
 * with every operator divided among the threads, in turn: medians of milliseconds a batch, for both
 * numeric settings, and how much the slowest tenth of them takes longer.
 *
 * usage: deno run -A scripts/figures/shards.ts [SHARED] [ROUNDS] (default: ../shared and 10)
 */
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "../../src/statistics.ts";
import { shardCount } from "../../src/train/shard_count.ts";
import { quietTraining, trainedCases } from "./trained_cases.ts";

const [shared = "../shared", rounds = "10"] = Deno.args;
const BATCHES = 4;
/** Milliseconds in which the pool's threads go to sleep. */
const SLEEP_MS = 100;

/** What nine of ten stay below. */
function slowTenth(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(0.9 * values.length)];
}

using runner = createOrtRunner();
const counts = [1, shardCount(runner, undefined)];
for (const what of trainedCases(shared)) {
  for (const numeric of ["fast", "exact"] as const) {
    using resources = new DisposableStack();
    const times = new Map<number, number[]>(counts.map((shards) => [shards, []]));
    const setups = [];
    for (const shards of counts) {
      const setup = resources.use(await quietTraining({ ...what, numeric }, { runner, shards }));
      const batches = await Promise.all(
        Array.from({ length: BATCHES }, (_, i) => setup.data.batch(0, i)),
      );
      setups.push({ shards, model: setup.model, batches });
    }
    // The first round plans and compiles.
    for (let round = 0; round <= Number(rounds); round++) {
      for (const { shards, model, batches } of setups) {
        await new Promise((resolve) => setTimeout(resolve, SLEEP_MS));
        for (const batch of batches) {
          const start = performance.now();
          await model.accumulate(batch, 0);
          if (round > 0) times.get(shards)!.push(performance.now() - start);
        }
        model.zeroGrad();
      }
    }
    for (const [shards, taken] of times) {
      console.log(JSON.stringify({
        model: what.model,
        numeric,
        shards,
        medianMs: Math.round(median(taken)),
        slowTenth: Number((slowTenth(taken) / median(taken)).toFixed(2)),
      }));
    }
  }
}
