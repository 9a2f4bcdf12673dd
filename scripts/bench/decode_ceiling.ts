/** What decoding could reach: the model's quantised products alone, and the bytes that a token reads. */
import { intAttribute } from "../../src/graph/attributes.ts";
import { byteLength } from "../../src/graph/dtype.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Graph, Model, Node } from "../../src/graph/types.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { bindInputs, isCache } from "../../src/plan/inputs.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

const RUNS = 20;

/** Tokens a second, of the fastest of several runs over all of a model's MatMulNBits. */
export async function decodingCeiling(path: string): Promise<number> {
  using loaded = loadOnnx(findModelFile(path));
  const graph = productsOf(loaded.model);
  using runner = createOrtRunner();
  using products = await runner.compile({ ...loaded.model, graph });
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name, type }) => {
      const dims = type!.shape as readonly number[];
      return [name, runner.upload(float32(dims, new Float32Array(dims[2]).fill(0.5)))];
    }),
  );
  let fastest = Infinity;
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now();
    const results = await products.run(feeds);
    fastest = Math.min(fastest, performance.now() - start);
    for (const result of Object.values(results)) result[Symbol.dispose]();
  }
  return 1000 / fastest;
}

/**
 * Bytes of the key and value caches that attention reads for a token, over the tokens of an answer on
 * average: those of the prompt and, in the mean, of half the answer.
 */
export function cacheBytes(path: string, promptTokens: number, tokens: number): number {
  using loaded = loadOnnx(findModelFile(path));
  const held = promptTokens + tokens / 2;
  const inputs = bindInputs(loaded.model.graph, { batch: 1, length: promptTokens });
  return [...inputs].filter(([name]) => isCache(name)).reduce((sum, [, { dtype, dims }]) => {
    const [, heads, , width] = dims; // [batch, heads, tokens so far, width]
    return sum + byteLength(dtype, heads * held * width);
  }, 0);
}

/** Each product over its own weights, of one token's activations: none waits for another. */
function productsOf({ graph }: Model): Graph {
  const widthOf = (node: Node, name: "K" | "N") => intAttribute(node, name, 0);
  const nodes = graph.nodes.filter(({ opType }) => opType === "MatMulNBits")
    .map((node) => ({ ...node, inputs: [`x${widthOf(node, "K")}`, ...node.inputs.slice(1)] }));
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const row = (name: string, width: number) => ({
    name,
    type: { dtype: "float32" as const, shape: [1, 1, width] },
  });
  return {
    name: "products",
    nodes,
    inputs: [...new Set(nodes.map((node) => widthOf(node, "K")))].map((k) => row(`x${k}`, k)),
    outputs: nodes.map((node) => row(node.outputs[0], widthOf(node, "N"))),
    initializers: new Map([...graph.initializers].filter(([name]) => read.has(name))),
    valueInfo: new Map(),
  };
}
