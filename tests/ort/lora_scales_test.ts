import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { injectScales, scaleGrid, scalesName } from "../../src/lora/scale_adapter.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { FORMS, runForm } from "../helpers/linear_forms.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";
import { floats } from "../helpers/lora_graphs.ts";

/** All linear layers' scales adapted with matrices that change them by some percent. */
function adapted(base: Model, targets: readonly string[] = ["*"]) {
  const index = indexGraph(base.graph);
  const modules = findModules(base);
  const sites = resolveTargets(modules, {
    ...DEFAULT_LORA,
    targetModules: targets,
    rank: 2,
    alpha: 2,
  });
  const random = Random.fromSeed(3);
  const matrix = (...dims: number[]) =>
    float32(dims, Array.from({ length: dims[0] * dims[1] }, () => random.next() / 2 ** 32 - 0.5));
  const weights = new Map(sites.map(({ module, rank }) => [module.path, {
    a: matrix(rank, scaleGrid(index, module).blocks),
    b: matrix(module.outFeatures, rank),
  }]));
  const changes = sites.map(({ module: { path }, rank, scale }) => {
    const { a, b } = weights.get(path)!;
    return {
      path,
      updates: [],
      scaleUpdates: [{ rank, scale, loraA: toNumbers(a), loraB: toNumbers(b) }],
    };
  });
  return { ...injectScales(base, sites, weights), changes };
}

const SCALED = Object.entries(FORMS).filter(([, make]) => {
  const [{ scales, kind }] = findModules(make());
  return scales !== undefined && make().graph.initializers.get(scales)!.dims.length > 0 &&
    kind !== undefined;
});

for (const [form, make] of SCALED) {
  Deno.test(`mergeModel() of an adapter of scales is what it computes beside ${form}`, async () => {
    const base = make();
    const x = floats(3, 4);
    const { model, changes } = adapted(base);
    const { model: merged, matrices: [report] } = await mergeModel(base, changes, "nearest");
    const [before, beside, after] = await Promise.all(
      [base, model, merged].map((m) => runForm(m, x)),
    );
    assert(difference(beside, before).relative > 1e-2, "the adapter changes the result");
    const { relative } = difference(after, beside);
    assert(relative <= 1e-5, `relative difference is ${relative}`);
    assertEquals([report.changedCodes, report.changed], [0, true]);
    const inFloats = await mergeModel(base, changes, "float");
    const floatDifference = difference(await runForm(inFloats.model, x), beside).relative;
    // Without quantised weights activations are no longer rounded to 8 bits.
    const bound = findModules(base)[0].kind === "MatMulInteger" ? 3e-2 : 1e-5;
    assert(floatDifference <= bound, `relative difference in floats is ${floatDifference}`);
  });
}

Deno.test("injectScales() refuses layers without scales of their rows, naming them", () => {
  assertThrows(() => adapted(FORMS.MatMul()), UsageError, "its weight is not quantised");
  const perTensor = FORMS["QuantizeLinear and DequantizeLinear to uint8 before Gemm"]();
  assertThrows(() => adapted(perTensor), UsageError, "one scale for the whole matrix");
});

for (const name of ["tiny-llama-genai-int4", "tiny-bert-dynamic-int8"] as const) {
  Deno.test(`mergeModel() of an adapter of scales is what it computes on ${name}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const base = readModel(modelDir(name));
    const { model, changes } = adapted(base, ["all-linear"]);
    const { model: merged } = await mergeModel(base, changes, "nearest");
    const [output] = base.graph.outputs;
    const run = (m: Model) =>
      runOutput(runner, m, tokenFeeds(2, 12, 100), output.name, { optimization: "all" });
    const [before, beside, after] = [await run(base), await run(model), await run(merged)];
    assert(difference(beside, before).relative > 1e-2, "the adapter changes the result");
    const { relative } = difference(after, beside);
    assert(relative <= 2e-3, `relative difference is ${relative}`);
  });

  Deno.test(`training scales on ${name} has the gradient of finite differences`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const { model, trainable } = adapted(readModel(modelDir(name)), ["all-linear"]);
    const objective = name.startsWith("tiny-llama") ? "causal" : "classification";
    using step = new PlannedModel({
      runner,
      model,
      trainable: new Set(trainable.keys()),
      objective,
    });
    const feeds = tokenFeeds(2, 12, 100);
    const inputIds = feeds.get("input_ids")!;
    const batch = {
      inputIds,
      attentionMask: feeds.get("attention_mask")!,
      tokenTypeIds: feeds.get("token_type_ids"),
      ...objective === "causal"
        ? { labels: Array.from(toNumbers(inputIds)) }
        : { classIds: [0, 1] },
      tokenCount: 24,
    };
    await step.accumulate(batch, 0);
    const random = Random.fromSeed(11);
    for (const which of ["A", "B"] as const) {
      const chosen = step.parameters.filter((p) => p.name.endsWith(`.scales_${which}.weight`));
      assert(chosen.length > 0, scalesName("…", which));
      let along = 0;
      const moves = chosen.map((parameter) => {
        const gradient = toNumbers(parameter.grad!.read());
        const direction = Float32Array.from(gradient, () => random.next() / 2 ** 32 - 0.5);
        for (let i = 0; i < gradient.length; i++) along += gradient[i] * direction[i];
        return {
          parameter,
          direction,
          start: Float32Array.from(toNumbers(parameter.value.read())),
        };
      });
      const lossAt = async (by: number) => {
        for (const { parameter, direction, start } of moves) {
          parameter.value.write(
            float32(parameter.dims, start.map((v, i) => v + by * direction[i])),
          );
        }
        return (await step.evaluate(batch)).lossSum;
      };
      const h = 0.02;
      const slope =
        (8 * (await lossAt(h) - await lossAt(-h)) - (await lossAt(2 * h) - await lossAt(-2 * h))) /
        (12 * h);
      await lossAt(0);
      assert(
        Math.abs(slope - along) <= 1e-2 * Math.abs(along),
        `${which}: ${slope} beside ${along}`,
      );
    }
  });
}
