/** What decoding could reach: a model's quantised products and its attention alone, and the bytes that a token reads. */
import { intAttribute } from "../../src/graph/attributes.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import { elementCount, float32, int32, type Tensor } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node, ValueInfo } from "../../src/graph/types.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { bindInputs, type BoundInput, isCache } from "../../src/plan/inputs.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { DeviceTensor, Runner } from "../../src/runtime/runner.ts";
import { pairCaches } from "../../src/serve/cache_pairs.ts";

const RUNS = 20;

/** Tokens a second, of the fastest of several runs of a token's kernels, each on inputs of its own. */
export interface DecodingCeiling {
  /** Of all MatMulNBits. */
  readonly products: number;
  /** Of all GroupQueryAttention as well, its caches in place. */
  readonly withAttention: number;
}

/** @param held tokens that the caches hold */
export async function decodingCeiling(path: string, held: number): Promise<DecodingCeiling> {
  using loaded = loadOnnx(findModelFile(path));
  using runner = createOrtRunner();
  const products = await fastestRun(runner, loaded.model, productsOf(loaded.model));
  const attention = await fastestRun(runner, loaded.model, attentionOf(loaded.model, held));
  return { products: 1000 / products, withAttention: 1000 / (products + attention) };
}

/** A graph of kernels that wait for nothing, and what they read. */
interface Alone {
  readonly nodes: readonly Node[];
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** Inputs that outputs are written into. */
  readonly inPlace: ReadonlyMap<string, string>;
}

/** Milliseconds of the fastest of several runs. */
async function fastestRun(runner: Runner, model: Model, alone: Alone): Promise<number> {
  const { nodes, feeds, inPlace } = alone;
  if (nodes.length === 0) return 0;
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const inputs = [...feeds].map(([name, { dtype, dims }]): ValueInfo => ({
    name,
    type: { dtype, shape: dims },
  }));
  const outputs = nodes.flatMap((node) => node.outputs.filter((name) => name !== ""));
  const initializers = new Map([...model.graph.initializers].filter(([name]) => read.has(name)));
  const graph: Graph = {
    ...{ name: "alone", nodes, inputs, initializers, valueInfo: new Map() },
    outputs: outputs.map((name) => ({ name })),
  };
  using resources = new DisposableStack();
  const executable = resources.use(await runner.compile({ ...model, graph }));
  const fed = new Map(
    [...feeds].map(([name, value]) => [name, resources.use(runner.upload(value))]),
  );
  const first = await executable.run(Object.fromEntries(fed));
  const into: Record<string, DeviceTensor> = {};
  for (const [name, made] of Object.entries(first)) {
    const input = inPlace.get(name);
    into[name] = input === undefined ? resources.use(made) : fed.get(input)!;
    if (input !== undefined) made[Symbol.dispose]();
  }
  const bound = resources.use(executable.bind(Object.fromEntries(fed), into));
  let fastest = Infinity;
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now();
    await bound.run({ brief: true });
    fastest = Math.min(fastest, performance.now() - start);
  }
  return fastest;
}

/**
 * Bytes of the key and value caches that attention reads for a token, over the tokens of an answer on
 * average: those of the prompt and, in the mean, of half the answer.
 */
export function cacheBytes(path: string, promptTokens: number, tokens: number): number {
  using loaded = loadOnnx(findModelFile(path));
  const held = promptTokens + tokens / 2;
  return [...cachesOf(loaded.model)].reduce((sum, [, { dtype, dims }]) => {
    const [, heads, , width] = dims; // [batch, heads, tokens so far, width]
    return sum + byteLength(dtype, heads * held * width);
  }, 0);
}

function cachesOf({ graph }: Model): Map<string, BoundInput> {
  const inputs = bindInputs(graph, { batch: 1, length: 1 });
  return new Map([...inputs].filter(([name]) => isCache(name)));
}

/** Every product over its own weights, of one token's activations. */
function productsOf({ graph }: Model): Alone {
  const feeds = new Map<string, Tensor>();
  const nodes = graph.nodes.filter(({ opType }) => opType === "MatMulNBits").map((node) => {
    const [, ...weights] = node.inputs;
    return { ...node, inputs: [halves(feeds, intAttribute(node, "K", 0)), ...weights] };
  });
  return { nodes, feeds, inPlace: new Map() };
}

/** Every attention over its own caches, of one token's projections. */
function attentionOf(model: Model, held: number): Alone {
  const feeds = new Map<string, Tensor>([
    ["seqlens_k", int32([1], [held - 1])],
    ["total_sequence_length", int32([1], [held])],
  ]);
  const caches = cachesOf(model);
  const presents = new Map(pairCaches(model.graph).map(({ past, present }) => [present, past]));
  const nodes = model.graph.nodes.filter(({ opType }) => opType === "GroupQueryAttention")
    .map((node): Node => {
      const [, key, , pastKey, pastValue, , , ...rest] = node.inputs;
      for (const past of [pastKey, pastValue]) feeds.set(past, cacheOf(caches.get(past)!, held));
      const [, keyHeads, , width] = caches.get(pastKey)!.dims;
      const heads = intAttribute(node, "num_heads", 0);
      const projections = key === ""
        ? [halves(feeds, (heads + 2 * keyHeads) * width), "", ""]
        : [heads, keyHeads, keyHeads].map((count) => halves(feeds, count * width));
      const lengths = ["seqlens_k", "total_sequence_length"];
      return { ...node, inputs: [...projections, pastKey, pastValue, ...lengths, ...rest] };
    });
  return { nodes, feeds, inPlace: presents };
}

/** Name of an input of a token's activations, all 0.5. */
function halves(feeds: Map<string, Tensor>, width: number): string {
  const name = `x${width}`;
  feeds.set(name, float32([1, 1, width], new Float32Array(width).fill(0.5)));
  return name;
}

function cacheOf({ dtype, dims: [, heads, , width] }: BoundInput, held: number): Tensor {
  const dims = [1, heads, held, width];
  return { dtype, dims, bytes: new Uint8Array(byteLength(dtype, elementCount(dims))) };
}
