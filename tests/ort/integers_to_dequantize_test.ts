import { assert, assertEquals } from "@std/assert";
import { integersToDequantize } from "../../src/graph/passes/integers_to_dequantize.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import type { Model } from "../../src/graph/types.ts";
import { rewriteDynamicQuantization } from "../../src/ops/quantized/pattern.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";

const operators = (model: Model, opType: string) =>
  model.graph.nodes.filter((node) => node.opType === opType).length;

Deno.test("integersToDequantize() computes what training does, with the dequantised weights", async () => {
  const model = readModel(modelDir("tiny-bert-dynamic-int8"));
  const rewritten = integersToDequantize(model);
  assert(operators(model, "MatMulInteger") > 0);
  const left = ["MatMulInteger", "DynamicQuantizeLinear"].map((name) => operators(rewritten, name));
  assertEquals(left, [0, 0]);
  const trained = { ...model, graph: prune(rewriteDynamicQuantization(model.graph)) };
  using runner = createOrtRunner({ threads: 1 });
  const logits = (of: Model) =>
    runOutput(runner, exactKernels(of), tokenFeeds(2, 9, 500), "logits", {
      optimization: "disabled",
    });
  const { relative } = difference(await logits(rewritten), await logits(trained));
  assert(relative <= 1e-6, `logits off by ${relative}`);
});

Deno.test("integersToDequantize() moves unsigned weights around 128, and leaves others alone", () => {
  const model = readModel(modelDir("tiny-bert-dynamic-int8"));
  const [product] = model.graph.nodes.filter(({ opType }) => opType === "MatMulInteger");
  const [, codes, , zero] = product.inputs;
  const withWeight = (dtype: "uint8" | "int8", middle: number): Model => {
    const initializers = new Map(model.graph.initializers);
    const { dims, bytes } = initializers.get(codes)!;
    initializers.set(codes, { dtype, dims, bytes: bytes.map((byte) => byte ^ 0x80) });
    const zeros = initializers.get(zero)!;
    initializers.set(zero, { ...zeros, dtype, bytes: zeros.bytes.map(() => middle) });
    return { ...model, graph: { ...model.graph, initializers } };
  };
  const all = operators(model, "MatMulInteger");
  const moved = integersToDequantize(withWeight("uint8", 0x80)).graph.initializers;
  assertEquals(moved.get(`${codes}.int8`)?.bytes, model.graph.initializers.get(codes)?.bytes);
  const others = new Set(
    model.graph.nodes.filter((node) => node.opType === "MatMulInteger" && node.inputs[3] === zero),
  );
  const kept = integersToDequantize(withWeight("int8", 3));
  assert(operators(kept, "MatMulInteger") >= 1 && operators(kept, "MatMulInteger") <= others.size);
  assert(all > 0);
  const older = { ...model, opsets: { ...model.opsets, "": 12 } };
  assertEquals(integersToDequantize(older), older);
});
