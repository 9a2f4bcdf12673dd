import { assert, assertEquals } from "@std/assert";
import { nbitsToDequantize } from "../../src/graph/passes/nbits_to_dequantize.ts";
import type { Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput, tokenFeeds } from "../helpers/logits.ts";

const operators = (model: Model) =>
  model.graph.nodes.filter(({ opType }) => opType === "MatMulNBits").length;

Deno.test("nbitsToDequantize() computes what MatMulNBits does, in ONNX's own operators", async () => {
  const model = exactKernels(readModel(modelDir("tiny-llama-genai-int4")));
  const rewritten = nbitsToDequantize(model);
  assert(operators(model) > 0);
  assertEquals(operators(rewritten), 0);
  for (const name of rewritten.graph.initializers.keys()) {
    assert(rewritten.graph.nodes.some(({ inputs }) => inputs.includes(name)), name);
  }
  using runner = createOrtRunner({ threads: 1 });
  const feeds = tokenFeeds(2, 9, 500);
  const expected = await runOutput(runner, model, feeds);
  const found = await runOutput(runner, rewritten, feeds, "logits", { optimization: "disabled" });
  const { relative } = difference(found, expected);
  assert(relative <= 1e-5, `logits off by ${relative}`);
});

Deno.test("nbitsToDequantize() leaves stored zero points and older operator sets alone", () => {
  const zeros = readModel(modelDir("dialects/llama-int4-zero-points"));
  assertEquals(nbitsToDequantize(zeros), zeros);
  const model = readModel(modelDir("tiny-llama-genai-int4"));
  const older = { ...model, opsets: { ...model.opsets, "": 20 } };
  assertEquals(nbitsToDequantize(older), older);
});
