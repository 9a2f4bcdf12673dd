/**
 * Times batches of e2e and of banking77 whose padding is computed and where it is left out, each with
 * rows in the file's order and with rows of similar length together, in turn: real tokens per second
 * of both numeric settings, and how many positions a batch has for each of its tokens. What sequences
 * begin with is computed by each of them.
 *
 * usage: deno run -A scripts/figures/padding.ts [SHARED] [ROUNDS] (default: ../shared and 3)
 */
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "../../src/statistics.ts";
import { quietTraining, trainedCases } from "./trained_cases.ts";

const [shared = "../shared", rounds = "3"] = Deno.args;
/** Batches of a side, from the whole epoch. */
const BATCHES = 6;

const SIDES = [false, true].flatMap((shuffle) =>
  [false, true].map((packing) => ({
    rows: shuffle ? "similar lengths together" : "in the file's order",
    padding: packing ? "left out" : "computed",
    shuffle,
    packing,
  }))
);

using runner = createOrtRunner();
for (const { model, data, batchSize } of trainedCases(shared)) {
  for (const numeric of ["fast", "exact"] as const) {
    using resources = new DisposableStack();
    const sides = [];
    for (const { shuffle, packing, ...told } of SIDES) {
      const values = { model, data, batchSize, numeric, shuffle };
      const own = { runner, packing, sharesPrefixes: false };
      const { model: step, data: rows } = resources.use(await quietTraining(values, own));
      const count = rows.batches(0);
      const batches = [];
      for (let i = 0; i < BATCHES; i++) {
        batches.push(await rows.batch(0, Math.floor(i * count / BATCHES)));
      }
      sides.push({ told, step, batches, speeds: [] as number[] });
    }
    // The first round plans and compiles.
    for (let round = 0; round <= Number(rounds); round++) {
      for (const { step, batches, speeds } of sides) {
        const start = performance.now();
        for (const batch of batches) await step.accumulate(batch, 0);
        const seconds = (performance.now() - start) / 1e3;
        step.zeroGrad();
        if (round > 0) speeds.push(tokensOf(batches) / seconds);
      }
    }
    for (const { told, batches, speeds } of sides) {
      const positions = batches.reduce((sum, { inputIds: { dims } }) => sum + dims[0] * dims[1], 0);
      console.log(JSON.stringify({
        ...{ model: model.slice(model.lastIndexOf("/") + 1), numeric, ...told },
        positionsPerToken: Number((positions / tokensOf(batches)).toFixed(2)),
        tokensPerSecond: Math.round(median(speeds)),
      }));
    }
  }
}

function tokensOf(batches: readonly { readonly tokenCount: number }[]): number {
  return batches.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
}
