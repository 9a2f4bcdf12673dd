/**
 * Takes steps of batches of many shapes, part by part, and prints what the process has after each part.
 *
 * usage: deno run -A tests/helpers/steps_child.ts SHARDS PARTS
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { processMemory } from "../../src/system/memory.ts";
import { applyStep } from "../../src/train/accumulate.ts";
import { graphOptimizer } from "../../src/train/graph_optimizer.ts";
import { OPTIMIZER_DEFAULTS } from "../../src/train/update_rules.ts";
import { batchOf, rowsOf, stepOn } from "./training_step.ts";

/** Bytes after a part, garbage collected. */
export interface PartMemory {
  readonly heapUsed: number;
  readonly ownBytes: number;
}

/** Shapes that come again and again, and steps of each part. */
const SHAPES = 12;
export const PART_STEPS = 120;

async function takeParts(shards: number, parts: number): Promise<PartMemory[]> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
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
  const memory: PartMemory[] = [];
  for (let part = 0; part < parts; part++) {
    for (let i = 0; i < PART_STEPS; i++) {
      const batch = batches[i % SHAPES];
      step.zeroGrad();
      const next = { epoch: 0, batchIndex: 0 };
      const loss = await step.accumulate(batch, i);
      await applyStep(optimizer, { ...loss, tokens: batch.tokenCount, next }, 1e-4, 1);
    }
    collect();
    const { heapUsed } = Deno.memoryUsage();
    memory.push({ heapUsed, ownBytes: processMemory().anonymousBytes });
  }
  return memory;
}

if (import.meta.main) {
  const [shards, parts] = Deno.args.map(Number);
  console.log(JSON.stringify(await takeParts(shards, parts)));
}
