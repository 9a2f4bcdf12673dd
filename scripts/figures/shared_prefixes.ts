/**
 * Times batches of e2e, and the same batches behind longer instructions, where what sequences begin
 * with is computed once and where each computes its own, in turn: tokens per second of both numeric
 * settings, their ratio, and how many of the tokens are computed.
 *
 * usage: deno run -A scripts/figures/shared_prefixes.ts [SHARED] [ROUNDS] (default: ../shared and 5)
 */
import { resolve } from "@std/path";
import { rowsOf } from "../../src/data/packing.ts";
import { shareBatch } from "../../src/data/share_batch.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "../../src/statistics.ts";
import { quietTraining, trainedCases } from "./trained_cases.ts";

const [shared = "../shared", rounds = "5"] = Deno.args;
const [{ model, data, batchSize }] = trainedCases(shared);
const BATCHES = 6;
const INSTRUCTION =
  "Describe the restaurant below in one or two sentences. Mention every attribute " +
  "that is given, in any order, and nothing that is not given. Write the name as it stands there. ";

using runner = createOrtRunner();
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
for (const instructions of [0, 1, 4]) {
  const path = `${folder}/${instructions}.jsonl`;
  const rows = Deno.readTextFileSync(resolve(data)).trim().split("\n").slice(0, BATCHES * batchSize)
    .map((line) => JSON.parse(line))
    .map((row) => ({ ...row, prompt: INSTRUCTION.repeat(instructions) + row.prompt }));
  Deno.writeTextFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  for (const numeric of ["fast", "exact"] as const) {
    const values = { model, data: path, batchSize, numeric };
    using resources = new DisposableStack();
    const sides = [];
    for (const sharesPrefixes of [true, false]) {
      const setup = resources.use(await quietTraining(values, { runner, sharesPrefixes }));
      const batches = await Promise.all(
        Array.from({ length: BATCHES }, (_, i) => setup.data.batch(0, i)),
      );
      sides.push({ setup, batches, speeds: [] as number[] });
    }
    const [{ setup, batches }] = sides;
    const tokens = batches.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
    // The first round plans and compiles.
    for (let round = 0; round <= Number(rounds); round++) {
      for (const { setup, batches, speeds } of sides) {
        const start = performance.now();
        for (const batch of batches) await setup.model.accumulate(batch, 0);
        const seconds = (performance.now() - start) / 1e3;
        setup.model.zeroGrad();
        if (round > 0) speeds.push(tokens / seconds);
      }
    }
    const computed = batches.flatMap((batch) => shareBatch(batch, setup.memory!.shards, true))
      .reduce((sum, part) => sum + rowsOf(part, { sharesPrefixes: true }).positions.length, 0);
    const [once, each] = sides.map(({ speeds }) => Math.round(median(speeds)));
    console.log(JSON.stringify({
      instructions,
      numeric,
      tokensPerRow: Math.round(tokens / (BATCHES * batchSize)),
      computed: Number((computed / tokens).toFixed(3)),
      once,
      each,
      ratio: Number((once / each).toFixed(2)),
    }));
  }
}
Deno.removeSync(folder, { recursive: true });
