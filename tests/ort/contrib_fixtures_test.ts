/** The lowered form of whole models against the models themselves. */
import { assert, assertEquals } from "@std/assert";
import { elementCount, int64, type Tensor } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { bindInputs } from "../../src/plan/inputs.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { MINILM_DIR, modelDir, readModel } from "../helpers/fixture_models.ts";
import { distance, modelOf, runOn } from "../helpers/fused_check.ts";

const [BATCH, LENGTH] = [2, 12];

/** Token inputs with the last 4 tokens of the second row padded, caches empty. */
function feedsOf(model: Model): Record<string, Tensor> {
  const bound = bindInputs(model.graph, { batch: BATCH, length: LENGTH });
  return Object.fromEntries([...bound].map(([name, { dtype, dims }]) => {
    if (elementCount(dims) === 0) return [name, { dtype, dims, bytes: new Uint8Array(0) }];
    const at = Array.from({ length: BATCH * LENGTH }, (_, i) => i);
    if (name === "input_ids") return [name, int64(dims, at.map((i) => 5 + 17 * i % 400))];
    if (name === "attention_mask") {
      return [name, int64(dims, at.map((i) => i < 2 * LENGTH - 4 ? 1 : 0))];
    }
    if (name === "position_ids") return [name, int64(dims, at.map((i) => i % LENGTH))];
    return [name, int64(dims, at.map(() => 0))];
  }));
}

/** Greatest difference of an output between a model and its lowered form, over unpadded tokens. */
async function difference(model: Model, output: string): Promise<number> {
  using runner = createOrtRunner({ threads: 1 });
  const feeds = feedsOf(model);
  const bound = bindInputs(model.graph, { batch: BATCH, length: LENGTH });
  const graph = lowerForTraining(model, bound, [output]);
  const options = { optimization: "disabled" } as const;
  using lowered = await runner.compile(modelOf(graph), options);
  using original = await runner.compile(model, options);
  const found = Object.values(await runOn(runner, lowered, feeds))[0];
  const expected = (await runOn(runner, original, feeds))[output];
  const perToken = expected.dims.length === 3 ? expected.dims[2] : Infinity;
  const padded = (index: number) => Math.floor(index / perToken) >= BATCH * LENGTH - 4;
  return distance(found, expected, padded);
}

const EXACT: Readonly<Record<string, string>> = {
  "tiny-llama-genai-fp32": "logits",
  "tiny-llama-genai-int4": "logits",
  "tiny-llama-torch-fp32": "logits",
  "tiny-bert-torch-fp32": "logits",
};

for (const [name, output] of Object.entries(EXACT)) {
  Deno.test(`lowering ${name} keeps its ${output}`, async () => {
    const error = await difference(exactKernels(readModel(modelDir(name))), output);
    assert(error <= 1e-5, `differs by ${error}`);
  });
}

for (
  const [name, dir, output] of [
    ["tiny-bert-dynamic-int8", modelDir("tiny-bert-dynamic-int8"), "logits"],
    ["all-minilm-l6-v2-int8", MINILM_DIR, "last_hidden_state"],
  ]
) {
  Deno.test(`lowering ${name} leaves out only the rounding of activations`, async () => {
    const model = readModel(dir);
    const error = await difference(model, output);
    assert(error > 0 && error <= 0.1, `differs by ${error}`);
    const bound = bindInputs(model.graph, { batch: BATCH, length: LENGTH });
    const graph = lowerForTraining(model, bound, [output]);
    const integer = graph.nodes.filter((node) => node.opType.includes("Integer"));
    assertEquals(integer.length, 0);
    const weights = (m: { initializers: ReadonlyMap<string, Tensor> }) =>
      [...m.initializers.values()].filter((t) => t.dtype === "int8" && t.dims.length === 2);
    const kept = new Set(weights(graph).map((t) => t.bytes));
    for (const { bytes } of weights(model.graph)) assert(kept.has(bytes), "a weight was copied");
  });
}
