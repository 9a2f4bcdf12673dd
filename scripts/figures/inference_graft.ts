/**
 * graft's side of `inference.ts`: keeps a language model and an encoder loaded, and answers each
 * line of JSON on standard input with what it measured. GRAFT_ORT_LIB names another runtime.
 *
 * usage: deno run -A inference_graft.ts MODEL ENCODER THREADS
 */
import { TextLineStream } from "@std/streams";
import type { TokenBatch } from "../../src/data/targets.ts";
import { int64 } from "../../src/graph/tensor.ts";
import { findModelFile } from "../../src/model/find_model.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { CausalModel } from "../../src/serve/causal_model.ts";
import { withSentenceEmbedding } from "../../src/serve/embedding_graph.ts";
import { EncoderModel } from "../../src/serve/encoder_model.ts";
import { withChosenLogits } from "../../src/serve/last_logits.ts";
import { argmax } from "../../src/statistics.ts";

const [modelPath, encoderPath, threads] = Deno.args;
using runner = createOrtRunner({
  ortLib: Deno.env.get("GRAFT_ORT_LIB"),
  threads: Number(threads),
});
using languageModel = loadOnnx(findModelFile(modelPath));
const generated = withChosenLogits(languageModel.model);
using generation = await runner.compile(generated);
using causal = new CausalModel(runner, generation, generated.graph);
using encoderModel = loadOnnx(findModelFile(encoderPath));
const embedding = withSentenceEmbedding(encoderModel.model);
using encoding = await runner.compile(embedding);
using encoder = new EncoderModel(runner, encoding, embedding.graph);

/** The token written last. */
let last = 0;

/** Reads a prompt; the first token of the answer. */
async function start({ prompt }: { prompt: readonly number[] }) {
  causal.reset();
  const begin = performance.now();
  last = argmax(await causal.continueTo(prompt));
  return { ms: performance.now() - begin, ids: [last] };
}

/** Tokens that follow, each the likeliest. */
async function goOn({ tokens }: { tokens: number }) {
  const ids: number[] = [];
  const begin = performance.now();
  while (ids.length < tokens) ids.push(last = argmax(await causal.advance([last])));
  return { ms: performance.now() - begin, ids };
}

/** Rows of token ids, padded to the longest. */
function padded(rows: readonly (readonly number[])[]): TokenBatch {
  const length = Math.max(...rows.map((row) => row.length));
  const dims = [rows.length, length];
  const at = (value: (row: readonly number[], t: number) => number) =>
    int64(dims, rows.flatMap((row) => Array.from({ length }, (_, t) => value(row, t))));
  return {
    inputIds: at((row, t) => row[t] ?? 0),
    attentionMask: at((row, t) => t < row.length ? 1 : 0),
    tokenTypeIds: at(() => 0),
    tokenCount: rows.reduce((sum, row) => sum + row.length, 0),
  };
}

async function embed({ batches }: { batches: readonly (readonly (readonly number[])[])[] }) {
  const inputs = batches.map(padded);
  let vectors: readonly Float32Array[] = [];
  const begin = performance.now();
  for (const batch of inputs) vectors = await encoder.embed(batch);
  return { ms: performance.now() - begin, vector: Array.from(vectors[0]) };
}

const tasks = new Map<string, (request: never) => Promise<object>>([
  ["prompt", start],
  ["go on", goOn],
  ["embed", embed],
  ["version", () => Promise.resolve({ runtime: runner.description })],
]);
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
  .pipeThrough(new TextLineStream());
for await (const line of lines) {
  const { task, ...request } = JSON.parse(String(line));
  console.log(JSON.stringify(await tasks.get(task)!(request as never)));
}
