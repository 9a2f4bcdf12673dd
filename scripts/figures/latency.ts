/**
 * Times a merged encoder against its base, interleaved, with the base against itself as a control: a
 * short text, where a new head's few nodes show, and larger batches, where they do not.
 *
 * usage: deno run -A scripts/figures/latency.ts BASE.onnx MERGED.onnx
 */
import { int64 } from "../../src/graph/tensor.ts";
import { LatencyBench } from "../../src/model/latency.ts";
import { loadOnnx } from "../../src/model/load_onnx.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

/** Sequences and tokens of a run. */
const SHAPES = [[1, 12], [8, 32], [16, 64]] as const;
/** Ids that every vocabulary has. */
const IDS = 1000;

const [basePath, mergedPath] = Deno.args;
if (mergedPath === undefined) {
  console.error("Give two models: BASE.onnx MERGED.onnx");
  Deno.exit(2);
}
using runner = createOrtRunner({ threads: 2 });
using base = loadOnnx(basePath);
using merged = loadOnnx(mergedPath);
for (const [sequences, length] of SHAPES) {
  const count = sequences * length;
  const dims = [sequences, length];
  const batch = {
    inputIds: int64(dims, Array.from({ length: count }, (_, i) => i % IDS)),
    attentionMask: int64(dims, new Uint8Array(count).fill(1)),
    tokenCount: count,
  };
  using bench = await LatencyBench.open(runner, { path: basePath, graph: base.model.graph }, batch);
  const found = await bench.measure(
    { path: mergedPath, graph: merged.model.graph },
    { maxRounds: 3000, budgetMs: 10_000 },
  );
  const nodes = [merged, base].map(({ model }) => model.graph.nodes.length);
  console.log(
    JSON.stringify({ sequences, length, ...found, nodes: nodes[0], baseNodes: nodes[1] }),
  );
}
