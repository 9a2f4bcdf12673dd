import { assert, assertEquals, assertRejects } from "@std/assert";
import { RefusedError, UsageError } from "../../src/errors.ts";
import { evaluateModel } from "../../src/eval/evaluate.ts";
import { float32, int64, type Tensor } from "../../src/graph/tensor.ts";
import { gainKept, nearestLoss, withAdapters } from "../../src/lora/merge/mod.ts";
import { adapterChanges } from "../../src/lora/merge/adapters.ts";
import { loadAdapter } from "../../src/model/adapter_dir.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { CERTIFICATE_FILE, mergeAdapters } from "../../src/model/merge_adapters.ts";
import type { MergeData, ScaleTuner } from "../../src/model/merge_request.ts";
import { findModules } from "../../src/lora/modules.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { storedMatrix } from "../../src/lora/stored_matrix.ts";
import { readValues } from "../../src/quant/dequantize.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { modelDir, referenceDir } from "../helpers/fixture_models.ts";
import { oracleBatch, readOracle, readTensors } from "../helpers/oracle.ts";
import { Random } from "../../src/random.ts";
import { tuneScales } from "../../src/train/tune_scales.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

/** A fixture's model, the oracle's trained adapter, and the sentences it was trained on. */
function fixture(reference: string, model: string) {
  const oracle = readOracle(reference);
  const batch = oracleBatch(oracle, readTensors(`${referenceDir(reference)}/tensors.safetensors`));
  const path = `${modelDir(model)}/model.onnx`;
  const loaded = loadOnnx(path);
  const adapter = loadAdapter(`${referenceDir(reference)}/adapter_after_10_steps`).adapter;
  const data: MergeData = {
    objective: oracle.task === "CAUSAL_LM" ? "causal" : "classification",
    train: { batches: () => [batch, ...variants(batch)] },
    heldOut: () => [batch],
  };
  const adapters = [{ label: "oracle", adapter, weight: 1 }];
  return { base: { path, model: loaded.model, sizeBytes: loaded.sizeBytes }, adapters, data };
}

/** The batch with other tokens: four sentences alone are too few activations to steer by. */
function variants(batch: TokenBatch): TokenBatch[] {
  return Array.from({ length: 12 }, (_, i) => {
    const ids = new BigInt64Array(batch.inputIds.bytes.slice().buffer);
    const moved: Tensor = int64(
      batch.inputIds.dims,
      ids.map((id) => (id * 7n + BigInt(i * 31)) % 500n),
    );
    return { ...batch, inputIds: moved };
  });
}

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name).sort();

Deno.test(
  "mergeAdapters() writes an int4 model like its base and certifies what it keeps of the gain",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const request = fixture("tiny-llama-int4.all", "tiny-llama-genai-int4");
      const savePath = `${dir}/merged`;
      const { measured, chosen } = await mergeAdapters(runner, {
        ...request,
        savePath,
        // More than any keeps, so that all are tried.
        minGainKept: 2,
        allowLarger: true,
        latency: { minRounds: 6, budgetMs: 0 },
      });
      assertEquals(
        measured.candidates.map(({ method }) => method),
        ["nearest", "compensated", "8bit"],
      );
      const [nearest, compensated, wide] = measured.candidates;
      assertEquals(nearest.sizeBytes, measured.baseSizeBytes);
      assertEquals(compensated.sizeBytes, measured.baseSizeBytes);
      assert(wide.sizeBytes > measured.baseSizeBytes);
      assert(compensated.evaluated!.loss < nearest.evaluated!.loss);
      assert(chosen.latency!.rounds === 6 && chosen.latency!.ratio > 0);

      assertEquals(
        names(savePath),
        [...names(modelDir("tiny-llama-genai-int4")), CERTIFICATE_FILE].sort(),
      );
      assertEquals(names(dir), ["merged"]);
      const certificate = JSON.parse(Deno.readTextFileSync(`${savePath}/${CERTIFICATE_FILE}`));
      assertEquals(certificate.method, chosen.method);
      assertEquals(certificate.candidates.length, 3);
      assert(
        certificate.candidates.find((c: { method: string }) => c.method === "8bit").gain_kept >
          0.97,
      );
      assert(certificate.matrices.every((m: { delta_norm: number }) => m.delta_norm > 0));

      const merged = loadOnnx(`${savePath}/model.onnx`).model;
      const graph = (m: typeof merged) =>
        m.graph.nodes.map(({ name, opType, inputs, outputs }) => ({
          name,
          opType,
          inputs,
          outputs,
        }));
      assertEquals(graph(merged), graph(request.base.model));
      const again = await evaluateModel(runner, merged, request.data.heldOut(), {
        objective: "causal",
      });
      assertEquals(again.loss, chosen.evaluated!.loss);
    }),
);

/** A tuner on one batch, and the rounds that it was asked for. */
function tunerOn(runner: Runner, batch: TokenBatch) {
  const rounds: number[] = [];
  const tune: ScaleTuner = (model, paths, { round }) => {
    rounds.push(round);
    return tuneScales(runner, model, {
      paths,
      objective: "causal",
      data: { batches: () => 1, batch: () => Promise.resolve(batch) },
      steps: 8,
      learningRate: 1e-3,
      random: Random.fromSeed(1),
    });
  };
  return { rounds, tune };
}

Deno.test(
  "mergeAdapters() tunes what it has rounded, in the base's own bits and size, until enough is kept",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ threads: 1 });
      const request = fixture("tiny-llama-int4.all", "tiny-llama-genai-int4");
      const [batch] = [...request.data.heldOut() as Iterable<TokenBatch>];
      const merge = async (name: string, minGainKept: number, method?: "tuned") => {
        const notes: string[] = [];
        const { rounds, tune } = tunerOn(runner, batch);
        const decision = await mergeAdapters(runner, {
          ...request,
          adapters: request.adapters.map((adapter) => ({ ...adapter, weight: 0.3 })),
          savePath: `${dir}/${name}`,
          ...{ method, minGainKept, tune, force: true, latency: false },
          onNote: (line) => notes.push(line),
        });
        return { ...decision, rounds, notes };
      };
      // Random weights: their scales hold little of a change, which goes through their codes.
      const { measured, chosen, rounds, notes } = await merge("merged", 1000);
      assertEquals(rounds, [0]);
      const [compensated, tuned] = measured.candidates;
      assertEquals([compensated.method, tuned.method], ["compensated", "tuned"]);
      assert(tuned.evaluated!.loss < compensated.evaluated!.loss);
      assertEquals([chosen.method, chosen.sizeBytes], ["tuned", measured.baseSizeBytes]);
      const codes = ({ matrices }: typeof tuned) =>
        matrices.map(({ changedCodes }) => changedCodes);
      assertEquals(codes(tuned), codes(compensated));
      const merged = loadOnnx(`${dir}/merged/model.onnx`).model;
      const again = await evaluateModel(runner, merged, request.data.heldOut(), {
        objective: "causal",
      });
      assertEquals(again.loss, tuned.evaluated!.loss);
      // Rounding to nearest undoes such an update: nothing is spent on measuring that.
      assertEquals(notes.filter((line) => line.includes('"nearest" is not ')).length, 1);

      const first = await merge("first", 0.1, "tuned");
      assertEquals([first.rounds, first.measured.candidates.length], [[0], 1]);
      const { base, adapter } = first.measured;
      const kept = gainKept(base!, adapter!, first.chosen.evaluated!)!;
      const more = await merge("more", kept + 0.01, "tuned");
      assertEquals(more.rounds.slice(0, 2), [0, 1]);
      assert(more.chosen.evaluated!.loss < first.chosen.evaluated!.loss);
      assertEquals(names(dir), ["first", "merged", "more"]);
    }),
);

Deno.test("mergeAdapters() puts a change into scales alone where these hold it", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ threads: 1 });
    const { base, adapters: [{ adapter }], data } = fixture(
      "tiny-llama-int4.all",
      "tiny-llama-genai-int4",
    );
    const index = indexGraph(base.model.graph);
    // ΔW[n] = δ[n]·W[n]: A is the identity.
    const lora = new Map(
      findModules(base.model).map((module) => {
        const { path, inFeatures, outFeatures } = module;
        const weight = readValues(storedMatrix(index, module), 0, outFeatures);
        const by = adapter.config.alpha / inFeatures;
        const b = weight.map((value, i) =>
          value * 0.02 * (Math.floor(i / inFeatures) % 3 - 1) / by
        );
        const identity = Float32Array.from(
          { length: inFeatures ** 2 },
          (_, i) => i % (inFeatures + 1) === 0 ? 1 : 0,
        );
        return [path, {
          a: float32([inFeatures, inFeatures], identity),
          b: float32([outFeatures, inFeatures], b),
        }] as const;
      }).filter(([, { b, a }]) => b.dims[0] >= a.dims[0]),
    );
    const [batch] = [...data.heldOut() as Iterable<TokenBatch>];
    const { rounds, tune } = tunerOn(runner, batch);
    const { chosen } = await mergeAdapters(runner, {
      base,
      data,
      adapters: [{ adapter: { ...adapter, lora }, label: "rows", weight: 1 }],
      savePath: `${dir}/merged`,
      ...{ method: "tuned", tune, latency: false } as const,
    });
    assertEquals(rounds, [0]);
    assertEquals(chosen.matrices.length, lora.size);
    assert(chosen.matrices.every(({ changedCodes, changed }) => changedCodes === 0 && changed));
  }));

Deno.test("mergeAdapters() tries no other way after its time budget, once it has one to write", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ threads: 1 });
    const request = fixture("tiny-llama-int4.all", "tiny-llama-genai-int4");
    const notes: string[] = [];
    const { measured } = await mergeAdapters(runner, {
      ...request,
      savePath: `${dir}/merged`,
      minGainKept: 2,
      timeBudget: 1e-3,
      force: true,
      latency: false,
      onNote: (line) => notes.push(line),
    });
    assertEquals(measured.candidates.map(({ method }) => method), ["nearest"]);
    assertEquals(
      notes.filter((line) => line.includes('"compensated" is not tried: the time budget of'))
        .length,
      1,
    );
  }));

Deno.test("nearestLoss() tells a change that rounding keeps from one that it undoes", async () => {
  const { base, adapters: [{ adapter, label }] } = fixture(
    "tiny-llama-int4.all",
    "tiny-llama-genai-int4",
  );
  const lossOf = async (weight: number) => {
    const { changes } = adapterChanges(base.model, [{ adapter, label, weight }]);
    return await nearestLoss(base.model, changes);
  };
  const [none, small, large] = [await lossOf(0), await lossOf(0.01), await lossOf(100)];
  assertEquals(none, undefined);
  assert(small! > 0.9 && small! < 1.1, `${small}`);
  assert(large! < 0.5, `${large}`);
});

Deno.test(
  "mergeAdapters() keeps the gain of a dynamically quantised classifier in its own bits",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const request = fixture("tiny-bert-int8.qv", "tiny-bert-dynamic-int8");
      const { measured, chosen } = await mergeAdapters(runner, {
        ...request,
        savePath: `${dir}/merged`,
        latency: false,
      });
      assertEquals(measured.candidates[0].method, "nearest");
      assert(chosen.sizeBytes <= measured.baseSizeBytes * 1.001);
      const { base, adapter } = measured;
      const kept = (base!.loss - chosen.evaluated!.loss) / (base!.loss - adapter!.loss);
      assert(kept > 0.95, `${kept}`);
    }),
);

Deno.test(
  "mergeAdapters() refuses what keeps too little, unless forced, and leaves nothing behind",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const request = {
        ...fixture("tiny-llama-int4.all", "tiny-llama-genai-int4"),
        savePath: `${dir}/merged`,
        method: "nearest" as const,
        latency: false,
      };
      // Rounding to nearest loses most of a small update.
      const adapters = request.adapters.map((adapter) => ({ ...adapter, weight: 0.05 }));
      const small = { ...request, adapters };
      await assertRejects(
        () => mergeAdapters(runner, small),
        RefusedError,
        "of the adapter's gain, less than 90.0%",
      );
      assertEquals(names(dir), []);
      const { forced } = await mergeAdapters(runner, { ...small, force: true });
      assert(forced);
      assertEquals(
        JSON.parse(Deno.readTextFileSync(`${dir}/merged/${CERTIFICATE_FILE}`)).forced,
        true,
      );
      await assertRejects(() => mergeAdapters(runner, small), UsageError, "it exists");
    }),
);

Deno.test(
  "mergeAdapters() refuses an adapter without an update, the base's own folder, and data it lacks",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const { base, adapters } = fixture("tiny-llama-int4.all", "tiny-llama-genai-int4");
      const [{ adapter }] = adapters;
      const untrained = {
        ...adapter,
        lora: new Map([...adapter.lora].map(([path, { a, b }]) => [
          path,
          { a, b: float32(b.dims, new Float32Array(b.dims[0] * b.dims[1])) },
        ])),
      };
      const savePath = `${dir}/merged`;
      const zero = [{ label: "zero", adapter: untrained, weight: 1 }];
      await assertRejects(
        () => mergeAdapters(runner, { base, adapters: zero, savePath, method: "nearest" }),
        RefusedError,
        "the adapter's updates are all zero",
      );
      await assertRejects(
        () =>
          mergeAdapters(runner, {
            base,
            adapters,
            savePath: modelDir("tiny-llama-genai-int4"),
            force: true,
          }),
        UsageError,
        "which is never changed",
      );
      await assertRejects(
        () => mergeAdapters(runner, { base, adapters, savePath, method: "compensated" }),
        UsageError,
        "needs the training data",
      );
      assertEquals(names(dir), []);
    }),
);

Deno.test(
  "mergeAdapters() says once that a merge changes nothing, however many ways it tried",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const { base, adapters: [adapter], data } = fixture(
        "tiny-llama-int4.all",
        "tiny-llama-genai-int4",
      );
      const notes: string[] = [];
      const merge = (weight: number) => {
        notes.length = 0;
        return mergeAdapters(runner, {
          base,
          data,
          adapters: [{ ...adapter, weight }],
          savePath: `${dir}/merged`,
          allowLarger: true,
          latency: false,
          onNote: (line) => notes.push(line),
        });
      };
      const found = () => notes.filter((line) => line.includes("changes nothing"));
      await assertRejects(() => merge(0), RefusedError, "the adapter's updates are all zero");
      assertEquals(found(), []);
      assertEquals(names(dir), []);
      // An update far below a step of int4.
      const { measured } = await merge(1e-9);
      assertEquals(measured.candidates.map(({ method }) => method), ["8bit"]);
      assertEquals(found(), [
        '"nearest" is left out: The merge changes nothing: rounding ("nearest") loses the whole ' +
        "adapter; use error-compensated rounding or 8 bits",
        '"compensated" is left out: The merge changes nothing: rounding ("compensated") loses the ' +
        "whole adapter; use 8 bits or store floats",
      ]);
    }),
);

Deno.test(
  "mergeAdapters() leaves out what it would time where memory does not suffice, and says so",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const request = fixture("tiny-llama-int4.all", "tiny-llama-genai-int4");
      const notes: string[] = [];
      const needed = 6 * request.base.sizeBytes;
      const { chosen } = await mergeAdapters(runner, {
        ...request,
        savePath: `${dir}/merged`,
        latency: { freeBytes: needed },
        onNote: (line) => notes.push(line),
      });
      assertEquals(chosen.latency, undefined);
      assert(chosen.evaluated !== undefined);
      assertEquals(notes.filter((line) => line.includes("Latency is left out")).length, 1);
    }),
);

Deno.test(
  "mergeAdapters() dequantises a whole model with method float",
  () =>
    inTempDir(async (dir) => {
      using runner = createOrtRunner({ spinning: false });
      const request = fixture("tiny-bert-int8.qv", "tiny-bert-dynamic-int8");
      await mergeAdapters(runner, {
        ...request,
        savePath: `${dir}/merged`,
        method: "float",
        latency: false,
        force: true,
      });
      const { graph } = loadOnnx(`${dir}/merged/model.onnx`).model;
      const operators = new Set(graph.nodes.map(({ opType }) => opType));
      assert(!operators.has("MatMulInteger") && !operators.has("DynamicQuantizeLinear"));
    }),
);

Deno.test("mergeAdapters() refuses an adapter that makes the base compute NaN, and leaves nothing", () =>
  inTempDir(async (dir) => {
    using runner = createOrtRunner({ threads: 1 });
    const request = fixture("tiny-llama-int4.all", "tiny-llama-genai-int4");
    const adapters = request.adapters.map((of) => ({ ...of, weight: 1e38 }));
    await assertRejects(
      () => mergeAdapters(runner, { ...request, adapters, savePath: `${dir}/m`, force: true }),
      RefusedError,
      "the base with the adapter has a loss of NaN on the held-out data",
    );
    assertEquals(names(dir), []);
  }));

Deno.test("withAdapters() adds up weighted adapters as a merge does", async () => {
  using runner = createOrtRunner({ spinning: false });
  const { base, adapters: [{ adapter }], data } = fixture(
    "tiny-llama-fp32.all",
    "tiny-llama-torch-fp32",
  );
  const loss = async (weights: readonly number[]) => {
    const list = weights.map((weight, i) => ({ label: `${i}`, adapter, weight }));
    const model = withAdapters(base.model, adapterChanges(base.model, list));
    return (await evaluateModel(runner, model, data.heldOut(), { objective: "causal" })).loss;
  };
  const [once, halves, twice, nothing] = [
    await loss([1]),
    await loss([0.5, 0.5]),
    await loss([2]),
    await loss([1, -1]),
  ];
  assert(Math.abs(once - halves) < 1e-5, `${once} ${halves}`);
  assert(Math.abs(twice - once) > 1e-2);
  const plain =
    (await evaluateModel(runner, base.model, data.heldOut(), { objective: "causal" })).loss;
  assert(Math.abs(nothing - plain) < 1e-5, `${nothing} ${plain}`);
});
