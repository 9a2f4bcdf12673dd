/**
 * Rewrites a model's weights once, without measuring what that is worth, and drops the result: what
 * `measured_rewrite.ts` watches from outside.
 *
 * usage: rewrite_child.ts JSON, a `Rewrite`
 */
import { join } from "@std/path";
import { randomAdapter } from "../../src/bench/random_adapter.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { int64 } from "../../src/graph/tensor.ts";
import { adapterChanges, type GramSource, withAdapters } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { gramSource } from "../../src/model/collect_gram.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { StagedDirectory } from "../../src/model/staged_directory.ts";
import { writeMerged } from "../../src/model/write_merged.ts";
import { writeQuantized } from "../../src/model/quantize_directory.ts";
import { planQuantize } from "../../src/quant/quantize_model.ts";
import { Scratch } from "../../src/quant/scratch.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { keepHeapSmall, processMemory } from "../../src/system/memory.ts";
import type { Rewrite } from "./measured_rewrite.ts";

/** Tokens of a sequence whose activations are collected. */
const LENGTH = 128;
/** Every model has as many tokens. */
const VOCABULARY = 64;

function randomBatches(tokens: number): TokenBatch[] {
  return Array.from({ length: Math.ceil(tokens / LENGTH) }, (_, row) => {
    const ids = Array.from({ length: LENGTH }, (_, i) => (7919 * (row * LENGTH + i)) % VOCABULARY);
    const ones = int64([1, LENGTH], ids.map(() => 1));
    return {
      inputIds: int64([1, LENGTH], ids),
      attentionMask: ones,
      tokenTypeIds: int64([1, LENGTH], ids.map(() => 0)),
      tokenCount: LENGTH,
    };
  });
}

/** Sums as if the inputs were all alike but for noise, in memory that is used again. */
function madeUpGrams(): GramSource {
  const scratch = new Scratch();
  return (requests) =>
    Promise.resolve(
      new Map(requests.map(({ value, cols }, at) => {
        const values = scratch.float32(`${at}`, cols * cols).fill(0.5);
        for (let i = 0; i < cols; i++) values[i * cols + i] = 1;
        return [value, { cols, count: cols, values }];
      })),
    );
}

const { model: folder, how, targetModules, tokens }: Rewrite = JSON.parse(Deno.args[0]);
const path = findModelFile(folder);
const target = Deno.makeTempDirSync({ prefix: "graft-rewrite-" });
const savePath = join(target, "rewritten");
keepHeapSmall(); // as the verb does
try {
  using runner = createOrtRunner();
  using loaded = loadOnnx(path);
  const base = { path, model: loaded.model, sizeBytes: loaded.sizeBytes };
  const adapter = how === "quantize"
    ? undefined
    : randomAdapter(base.model, { rank: 8, targetModules: [...targetModules] });
  const before = processMemory();
  // The watch begins when it reads this.
  console.log("begin");
  const start = performance.now();
  if (adapter === undefined || how === "quantize") {
    const linears = findModules(base.model, { allowAmbiguous: true }).filter(({ head }) => !head);
    using staged = new StagedDirectory(savePath);
    await writeQuantized(staged, base, planQuantize(base.model, linears, { bits: 4 }));
  } else {
    const changes = adapterChanges(base.model, [{ label: "random", adapter, weight: 1 }]);
    const madeUp = how === "compensated" || how === "fitted" ? madeUpGrams() : undefined;
    const grams = tokens === 0 ? madeUp : gramSource(
      runner,
      withAdapters(base.model, changes),
      { batches: () => randomBatches(tokens) },
      { folder: target },
    );
    const request = { base, savePath, changes, method: how, grams, runner };
    const written = await writeMerged(request);
    if (!("directory" in written)) throw written.refused;
    written.directory[Symbol.dispose]();
  }
  const seconds = (performance.now() - start) / 1000;
  console.log(JSON.stringify({ before, seconds, sizeBytes: loaded.sizeBytes }));
} finally {
  Deno.removeSync(target, { recursive: true });
}
