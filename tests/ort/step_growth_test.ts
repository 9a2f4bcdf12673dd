import { assert } from "@std/assert";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { processMemory } from "../../src/system/memory.ts";
import { applyStep } from "../../src/train/accumulate.ts";
import { graphOptimizer } from "../../src/train/graph_optimizer.ts";
import { OPTIMIZER_DEFAULTS } from "../../src/train/update_rules.ts";
import { batchOf, rowsOf, stepOn } from "../helpers/training_step.ts";

const MIB = 2 ** 20;
/** Shapes that come again and again, and steps of each part of the run. */
const SHAPES = 12;
const STEPS = 120;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

for (const shards of [1, 2]) {
  Deno.test(`steps of many shapes leave nothing that grows, ${shards} beside each other`, async () => {
    using runner = createOrtRunner({ threads: 2, spinning: false });
    using step = stepOn(runner, "tiny-llama-genai-int4", { dropout: 0.1, shards });
    using optimizer = await graphOptimizer(
      runner,
      step.parameters,
      { ...OPTIMIZER_DEFAULTS, name: "adamw" },
      { shards },
    );
    const batches = Array.from({ length: SHAPES }, (_, i) => {
      const lengths = [5 + i, 12, 9 + i % 5, 3 + 2 * i];
      return batchOf(rowsOf(lengths), Math.max(...lengths), "causal");
    });
    const take = async (steps: number) => {
      for (let i = 0; i < steps; i++) {
        const batch = batches[i % SHAPES];
        step.zeroGrad();
        const next = { epoch: 0, batchIndex: 0 };
        const loss = await step.accumulate(batch, i);
        await applyStep(optimizer, { ...loss, tokens: batch.tokenCount, next }, 1e-4, 1);
      }
      collect();
      const { heapUsed } = Deno.memoryUsage();
      return { heapUsed, ownBytes: processMemory().anonymousBytes };
    };
    await take(STEPS); // plans, compiles, fills the arena
    const before = await take(STEPS);
    const after = await take(STEPS);
    const grown = (key: keyof typeof before) => (after[key] - before[key]) / MIB;
    assert(grown("heapUsed") < 1, `JavaScript's heap grew by ${grown("heapUsed")} MB`);
    assert(grown("ownBytes") < 8, `the process grew by ${grown("ownBytes")} MB`);
  });
}
