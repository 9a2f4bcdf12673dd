/** How fast this machine reads memory: what decoding, which reads all weights for a token, can reach. */
import { GraphBuilder } from "../../src/graph/builder.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";

/** Far larger than the caches. */
const [ROWS, COLUMNS] = [4096, 16_384];
const RUNS = 10;

/** Bytes a second, of the fastest of several sums over 256 MB on all threads. */
export async function memoryBandwidth(): Promise<number> {
  const b = new GraphBuilder(inferTraining);
  const x = b.input("x", "float32", [ROWS, COLUMNS]);
  const graph = b.build("bandwidth", [b.op("ReduceSum", [x, b.int64s([1])])]);
  using runner = createOrtRunner();
  using sum = await runner.compile({ irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} });
  using values = runner.allocate("float32", [ROWS, COLUMNS]);
  let fastest = Infinity;
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    const results = await sum.run({ x: values });
    fastest = Math.min(fastest, performance.now() - start);
    for (const result of Object.values(results)) result[Symbol.dispose]();
  }
  return 4 * ROWS * COLUMNS / fastest * 1000;
}
