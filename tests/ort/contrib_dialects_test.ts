/**
 * Models as users' tools write them (`scripts/make_dialects.py`): the lowered form against the
 * model itself, and the gradient through all layers against central differences.
 */
import { assert } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { prune } from "../../src/graph/passes/prune.ts";
import { elementCount, int64, type Tensor } from "../../src/graph/tensor.ts";
import type { Graph, Model } from "../../src/graph/types.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { bindInputs } from "../../src/plan/inputs.ts";
import { lowerForTraining } from "../../src/plan/lower.ts";
import { dequantFormFor } from "../../src/ops/dequant_form.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { checkGradients, modelOf, normal, runOn } from "../helpers/directional.ts";
import { exactKernels } from "../helpers/exact_kernels.ts";
import { U8S8_IS_RIGHT } from "../helpers/integer_forms.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { distance } from "../helpers/fused_check.ts";
import { EACH_ORT } from "../helpers/oldest_ort.ts";

const [BATCH, LENGTH] = [2, 8];
const SHAPE = { batch: BATCH, length: LENGTH };
/** Tokens at the end of the second row that are padding. */
const PADDED = 3;

function feedsOf(model: Model): Record<string, Tensor> {
  const tokens = BATCH * LENGTH;
  const numbers = (dims: readonly number[], value: (i: number) => number) =>
    int64(dims, Array.from({ length: tokens }, (_, i) => value(i)));
  return Object.fromEntries(
    [...bindInputs(model.graph, SHAPE)].map(([name, { dtype, dims }]) => {
      if (elementCount(dims) === 0) return [name, { dtype, dims, bytes: new Uint8Array(0) }];
      if (name === "input_ids") return [name, numbers(dims, (i) => 3 + 29 * i % 120)];
      if (name === "attention_mask") {
        return [
          name,
          numbers(dims, (i) => Number(i < tokens - PADDED)),
        ];
      }
      if (name === "position_ids") return [name, numbers(dims, (i) => i % LENGTH)];
      return [name, numbers(dims, (i) => Number(i % LENGTH > 4))];
    }),
  );
}

const OPTIONS = { optimization: "disabled" } as const;

/**
 * Largest difference of the logits over unpadded tokens, relative to the largest logit: the lowered
 * form on `ortLib` against the model on the library that graft brings.
 */
async function difference(model: Model, ortLib: string | undefined): Promise<number> {
  using runner = createOrtRunner({ threads: 1, ortLib });
  using reference = createOrtRunner({ threads: 1 });
  const graph = lowerForTraining(model, bindInputs(model.graph, SHAPE), ["logits"], {
    dequantForm: dequantFormFor(runner.version),
  });
  using lowered = await runner.compile(modelOf(graph), OPTIONS);
  using original = await reference.compile(model, OPTIONS);
  const feeds = feedsOf(model);
  const [found] = Object.values(await runOn(runner, lowered, feeds));
  const { logits } = await runOn(reference, original, feeds);
  const perToken = logits.dims.length === 3 ? logits.dims[2] : Infinity;
  return distance(found, logits, (i) => Math.floor(i / perToken) >= BATCH * LENGTH - PADDED);
}

/** The part of a graph behind `value`, which becomes an input. */
function behind(graph: Graph, value: string): { b: GraphBuilder; outputs: readonly string[] } {
  const nodes = graph.nodes.filter((node) => !node.outputs.includes(value));
  const rest = prune({ ...graph, nodes });
  const known = graph.valueInfo.get(value)!.type!;
  const b = new GraphBuilder(inferTraining);
  for (const { name, type } of rest.inputs) b.input(name, type!.dtype, type!.shape as number[]);
  b.input(value, known.dtype, known.shape as number[]);
  for (const [name, tensor] of rest.initializers) b.initializer(name, tensor);
  for (const node of rest.nodes) b.add(node);
  return { b, outputs: rest.outputs.map((output) => output.name) };
}

/** The first normalisation's output: everything but the embeddings lies behind it. */
function firstNormalized(graph: Graph): string {
  const node = graph.nodes.find(({ opType }) => opType.includes("LayerNormalization")) ??
    // Layer normalisation in single operators ends with its bias.
    graph.nodes.slice(graph.nodes.findIndex(({ opType }) => opType === "Sqrt"))
      .find(({ opType }) => opType === "Add")!;
  return node.outputs[0];
}

async function checkBackward(model: Model): Promise<void> {
  using runner = createOrtRunner({ threads: 1 });
  const graph = lowerForTraining(model, bindInputs(model.graph, SHAPE), ["logits"]);
  const value = firstNormalized(graph);
  const { b, outputs } = behind(graph, value);
  const dims = graph.valueInfo.get(value)!.type!.shape as number[];
  const feeds = { ...feedsOf(model), [value]: normal(dims, 5) };
  await checkGradients(runner, { b, outputs, wrt: [value], feeds, tolerance: 5e-3, step: 2e-3 });
}

const DIALECTS: Readonly<Record<string, number>> = {
  "llama-int4-zero-points": 1e-5,
  "llama-int8-separate": 1e-5,
  "llama-qdq-int4": 1e-5,
  "llama-bnb4": 1e-5,
  "llama-rotary": 1e-5,
  "llama-multi-head": 1e-5,
  "qwen3": 1e-5,
  "gemma2": 1e-5,
  "phi": 1e-5,
  "bert-attention": 1e-5,
  "bert-multi-head": 1e-5,
  "bert-session": 1e-5,
  "gpt2": 1e-5,
  "albert": 1e-5,
  "deberta": 1e-5,
  "bert-masked": 1e-5,
  "bloom": 1e-5,
  "modernbert": 1e-5,
  // These round activations to 8 bits.
  "bert-qattention": U8S8_IS_RIGHT ? 0.1 : 0.2, // sessions that optimise nothing saturate there
  "bert-integer-to-float": 0.1,
  "bert-qdq": 0.1,
  "bert-qdq-floats": 0.1,
  // It rounds all of them.
  "bert-qoperator": 0.5,
};

for (const [name, tolerance] of Object.entries(DIALECTS)) {
  const model = () => exactKernels(readModel(modelDir(`dialects/${name}`)));
  for (const { on, ortLib, ignore } of EACH_ORT) {
    // 4-bit element types came with 1.19: such a model does not load before.
    if (ortLib !== undefined && name === "llama-qdq-int4") continue;
    Deno.test({
      name: `lowering ${name} keeps its logits${on}`,
      ignore,
      async fn() {
        const error = await difference(model(), ortLib);
        assert(error <= tolerance, `the logits differ by ${error}`);
      },
    });
  }
  Deno.test(`gradients through ${name} are those of differences`, () => checkBackward(model()));
}
