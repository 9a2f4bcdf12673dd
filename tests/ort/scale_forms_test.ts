/** Adapters of scales on each stored form of weights: trained, merged, and run by ONNX Runtime. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import type { LowRankUpdate } from "../../src/lora/merge/delta.ts";
import { mergeModel, withAdapters } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { hasScales, injectScales, scaleGrid } from "../../src/lora/scale_adapter.ts";
import type { LoraSite } from "../../src/lora/targets.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { SESSION_CONFIG } from "../../src/train/call_sessions.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { tuneScales } from "../../src/train/tune_scales.ts";
import { withCodebook } from "../helpers/codebook_model.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { halfModel } from "../helpers/half_model.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { quantized } from "../helpers/quantized_model.ts";
import { sampled } from "../helpers/sampled.ts";
import { assertGradientsOfDifferences, batchOf, rowsOf } from "../helpers/training_step.ts";
import { withZeroPoints } from "../helpers/zero_points.ts";

const RANK = 4;
/** Tokens that every fixture has. */
const TOKENS = 100;

const fixture = (name: string) => readModel(modelDir(name));
const llama = () => fixture("tiny-llama-genai-fp32");
const blocks = (blockSize: number, useQdq = false) =>
  quantized(llama(), { bits: 4, blockSize, useQdq, minElements: 1 });

interface Form {
  readonly make: () => Model;
  readonly objective?: "causal" | "classification";
  /** Largest relative difference of the merged model's outputs; default 1e-5. */
  readonly tolerance?: number;
}

/** Where the graph rounds activations to 8 bits, another order of the sums before it is another code. */
const ROUNDED_ACTIVATIONS = 1e-2;
const encoder = (name: string): Form => ({
  make: () => fixture(name),
  objective: "classification",
  tolerance: ROUNDED_ACTIVATIONS,
});

/** The matrices have 64 and 128 columns. */
const FORMS: Readonly<Record<string, Form>> = {
  "int4 in blocks of 32, q, k and v fused, as genai's builder writes them": {
    make: () => fixture("tiny-llama-genai-int4"),
  },
  "int4 in blocks of 16": { make: () => blocks(16) },
  "int4 in blocks of 32 with zero points": { make: () => withZeroPoints(blocks(32)) },
  "int4 in blocks of 64, scales in float16": {
    make: () => halfModel(blocks(64)),
    tolerance: 1e-2,
  },
  "int4 in blocks of 128, longer than rows, with zero points": {
    make: () => withZeroPoints(blocks(128)),
  },
  "int4 in blocks that end within one, as genai's builder writes them": {
    make: () => fixture("dialects/llama-int4-zero-points"),
  },
  "8 bits in blocks": { make: () => fixture("dialects/llama-int8-separate") },
  "DequantizeLinear of int4 in blocks": { make: () => blocks(32, true) },
  "DequantizeLinear of int4 in blocks with zero points": {
    make: () => withZeroPoints(blocks(16, true)),
  },
  "DequantizeLinear of int4 in blocks that end within one": { make: () => blocks(128, true) },
  "NF4, the head in FP4": { make: () => fixture("dialects/llama-bnb4") },
  "NF4 in blocks of 64": { make: () => withCodebook(llama(), "nf4", 64) },
  "DequantizeLinear of int8 per channel": {
    make: () => quantized(llama(), { bits: 8, minElements: 1 }),
    tolerance: ROUNDED_ACTIVATIONS,
  },
  "MatMulInteger per channel": encoder("tiny-bert-dynamic-int8"),
  "QDQ of int8 per channel": encoder("dialects/bert-qdq"),
  "QDQ of int8 per channel over floats": encoder("dialects/bert-qdq-floats"),
  "QOperator of int8 per channel": encoder("dialects/bert-qoperator"),
  "QAttention per channel": encoder("dialects/bert-qattention"),
};

/** A batch of three sequences. */
function batchFor(objective: "causal" | "classification") {
  const rows = rowsOf([9, 6, 12]).map((row) => ({ ...row, ids: row.ids.map((id) => id % TOKENS) }));
  return batchOf(rows, 12, objective);
}

/** Every layer with scales as a site. */
function sitesOf(base: Model): LoraSite[] {
  const index = indexGraph(base.graph);
  return findModules(base).filter((module) => hasScales(index, module))
    .map((module) => ({ module, rank: RANK, alpha: RANK, scale: 1, dropout: 0 }));
}

/** Changes as matrices that a graph can have. */
function matrices(sites: readonly LoraSite[], updates: ReadonlyMap<string, LowRankUpdate>) {
  return new Map(sites.map(({ module: { path, outFeatures } }) => {
    const { loraA, loraB } = updates.get(path)!;
    return [path, {
      a: float32([RANK, loraA.length / RANK], loraA),
      b: float32([outFeatures, RANK], loraB),
    }];
  }));
}

for (const [form, made] of sampled(Object.entries(FORMS))) {
  const { make, objective = "causal", tolerance = 1e-5 } = made;
  Deno.test(`tuneScales() lowers the loss of ${form}, and mergeModel() writes what it found`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = make();
    const sites = sitesOf(base);
    assertEquals(sites.length, findModules(base).length, "every layer has scales");
    const batch = batchFor(objective);
    const losses: number[] = [];
    const updates = await tuneScales(runner, base, {
      paths: new Set(sites.map(({ module }) => module.path)),
      objective,
      data: { batches: () => 1, batch: () => Promise.resolve(batch) },
      steps: 4,
      rank: RANK,
      learningRate: 3e-2,
      random: Random.fromSeed(1),
      onStep: (_, loss) => losses.push(loss),
    });
    assert(losses[3] < 0.97 * losses[0], `losses are ${losses}`);

    const changes = sites.map(({ module: { path } }) => ({
      path,
      updates: [],
      scaleUpdates: [updates.get(path)!],
    }));
    const { model: merged, matrices: reports } = await mergeModel(base, changes, "scales");
    for (const { changedCodes, changed } of reports) {
      assertEquals([changedCodes, changed], [0, true]);
    }
    const { model: beside } = injectScales(base, sites, matrices(sites, updates));
    const [output] = base.graph.outputs;
    const feeds = tokenFeeds(2, 12, TOKENS);
    // Where kernels may round activations to 8 bits, too, the last bit of a sum decides a code.
    const run = (model: Model) =>
      runOutput(runner, exactKernels(model), feeds, output.name, { config: SESSION_CONFIG });
    const [before, adapted, after] = [await run(base), await run(beside), await run(merged)];
    const change = difference(adapted, before).relative;
    assert(change > 0.1, `the adapter changes outputs by ${change}`);
    const { relative } = difference(after, adapted);
    assert(relative <= tolerance, `relative difference is ${relative}`);
    // What a certificate compares with has the very scales that are written.
    assertEquals(await run(withAdapters(base, { changes })), after);
  });

  Deno.test(`injectScales() into ${form} has the gradient of finite differences`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = make();
    const index = indexGraph(base.graph);
    // The first and the last: of either width, and the head.
    const sites = sitesOf(base).filter((_, i, all) => i === 0 || i >= all.length - 2);
    const random = Random.fromSeed(3);
    const numbers = (count: number) =>
      Float32Array.from({ length: count }, () => random.next() / 2 ** 32 - 0.5);
    const weights = matrices(
      sites,
      new Map(sites.map(({ module }) => [module.path, {
        rank: RANK,
        scale: 1,
        loraA: numbers(RANK * scaleGrid(index, module).blocks),
        loraB: numbers(RANK * module.outFeatures),
      }])),
    );
    const { model, trainable } = injectScales(base, sites, weights);
    using step = new PlannedModel({
      ...{ runner, model, objective },
      trainable: new Set(trainable.keys()),
    });
    assertEquals(step.parameters.length, 2 * sites.length);
    await assertGradientsOfDifferences(step, batchFor(objective));
  });
}

Deno.test("tuneScales() says of weights with one scale a matrix what to do instead", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = fixture("dialects/bert-integer-to-float");
  await assertRejects(
    () =>
      tuneScales(runner, base, {
        paths: new Set(findModules(base).map(({ path }) => path)),
        objective: "classification",
        data: { batches: () => 1, batch: () => Promise.resolve(batchFor("classification")) },
        steps: 1,
        random: Random.fromSeed(1),
      }),
    UsageError,
    "merge with method: compensated, or with allowLarger",
  );
});
