import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { float32, int64, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { indexGraph } from "../../src/lora/graph_index.ts";
import { mergeModel } from "../../src/lora/merge/mod.ts";
import { findModules } from "../../src/lora/modules.ts";
import { injectScales, scaleGrid } from "../../src/lora/scale_adapter.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { FORMS, runForm } from "../helpers/linear_forms.ts";
import { difference, runOutput } from "../helpers/logits.ts";
import { floats, int8s } from "../helpers/lora_graphs.ts";
import { tinyModel } from "../helpers/ort.ts";

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

/** int8 with a scale for two outputs each. */
const alongOutputs = () =>
  tinyModel({
    inputs: { x: ["float32", [3, 4]] },
    outputs: { y: ["float32", [3, 6]] },
    nodes: [
      ["DequantizeLinear", ["w", "s"], ["d"], { axis: int(1), block_size: int(2) }],
      ["MatMul", ["x", "d"], ["y"]],
    ],
    initializers: { w: int8s(4, 6), s: floats(4, 3) },
  });

/** A head of 20 tokens whose codes and scales an embedding reads, too, as SmolLM2's does. */
const tiedModel = () =>
  tinyModel({
    inputs: { input_ids: ["int64", [1, 3]] },
    outputs: { embedded: ["float32", [1, 3, 32]], logits: ["float32", [1, 3, 20]] },
    nodes: [
      ["Reshape", ["codes", "shape"], ["table"]],
      ["com.microsoft.GatherBlockQuantized", ["table", "input_ids", "scales"], ["embedded"], {
        ...{ bits: int(4), block_size: int(16), gather_axis: int(0), quantize_axis: int(1) },
      }],
      ["com.microsoft.MatMulNBits", ["embedded", "codes", "scales"], ["logits"], {
        ...{ K: int(32), N: int(20), bits: int(4), block_size: int(16) },
      }],
    ],
    initializers: {
      codes: tensor(
        "uint8",
        [20, 2, 8],
        Uint8Array.from({ length: 320 }, (_, i) => (i * 61) % 256),
      ),
      scales: floats(20, 2),
      shape: int64([2], [20, 16]),
    },
  });

Deno.test("injectScales() refuses layers without scales of their rows, naming them", () => {
  assertThrows(() => adapted(FORMS.MatMul()), UsageError, "its weight is not quantised");
  const perTensor = FORMS["QuantizeLinear and DequantizeLinear to uint8 before Gemm"]();
  assertThrows(() => adapted(perTensor), UsageError, "one scale for the whole matrix");
  assertThrows(() => adapted(alongOutputs()), UsageError, "are along the outputs; train LoRA");
});

Deno.test("mergeModel() of a head's scales leaves the embedding that shares them alone", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const base = tiedModel();
  const { model, changes } = adapted(base);
  assertEquals(changes.map(({ path }) => path), [findModules(base)[0].path]);
  const { model: merged } = await mergeModel(base, changes, "nearest");
  const feeds = new Map([["input_ids", int64([1, 3], [0, 5, 17])]]);
  const run = (m: Model, output: string) => runOutput(runner, m, feeds, output);
  for (const m of [model, merged]) {
    assertEquals(await run(m, "embedded"), await run(base, "embedded"));
  }
  const [before, beside, after] = [
    await run(base, "logits"),
    await run(model, "logits"),
    await run(merged, "logits"),
  ];
  assert(difference(beside, before).relative > 1e-2, "the adapter changes the result");
  const { relative } = difference(after, beside);
  assert(relative <= 1e-5, `relative difference is ${relative}`);
});
