/**
 * Times the ways of dequantising a 4-bit weight inside a graph, and products with it, on a runtime.
 *
 * usage: deno run -A scripts/figures/dequantize.ts [LIBONNXRUNTIME]
 */
import { int, string } from "../../src/graph/attributes.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32, int32, type Tensor, tensor } from "../../src/graph/tensor.ts";
import { inferTraining, TRAINING_OPSETS } from "../../src/ops/registry.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "./children.ts";

const [ROWS, COLUMNS, BLOCK, TOKENS] = [1536, 576, 32, 768];
const BLOCKS = COLUMNS / BLOCK;
const RUNS = 30;

const bytes = crypto.getRandomValues(new Uint8Array(ROWS * COLUMNS / 2 & 65535));
const packed = Uint8Array.from({ length: ROWS * COLUMNS / 2 }, (_, i) => bytes[i % bytes.length]);
const scales = Float32Array.from({ length: ROWS * BLOCKS }, (_, i) => 1e-3 * (1 + i % 7));

const TENSORS: Readonly<Record<string, Tensor>> = {
  packed: tensor("uint8", [ROWS, COLUMNS / 2], packed),
  blob: tensor("uint8", [ROWS, BLOCKS, BLOCK / 2], packed),
  nibbles: tensor("uint4", [ROWS, COLUMNS], packed),
  middle: tensor("uint4", [ROWS, BLOCKS], new Uint8Array(ROWS * BLOCKS / 2).fill(0x88)),
  scales: float32([ROWS, BLOCKS], scales),
  scaleColumns: float32([ROWS, BLOCKS, 1], scales),
  rows: int32([ROWS], Array.from({ length: ROWS }, (_, i) => i)),
  x: float32([TOKENS, COLUMNS], Array.from({ length: TOKENS * COLUMNS }, (_, i) => Math.sin(i))),
  float: float32([ROWS, COLUMNS], Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.cos(i))),
};

type Emit = (b: GraphBuilder, input: (name: string) => string) => string;

const FORMS: Readonly<Record<string, Emit>> = {
  "GatherBlockQuantized": (b, input) =>
    b.microsoft("GatherBlockQuantized", [input("packed"), input("rows"), input("scales")], {
      bits: int(4),
      block_size: int(BLOCK),
      gather_axis: int(0),
      quantize_axis: int(1),
    }),
  "DequantizeLinear, uint4": (b, input) =>
    b.op("DequantizeLinear", [input("nibbles"), input("scales"), input("middle")], {
      axis: int(1),
      block_size: int(BLOCK),
    }),
  "arithmetic": (b, input) => {
    const uint8 = (value: number) => b.constant(tensor("uint8", [], Uint8Array.of(value)));
    const low = b.op("BitwiseAnd", [input("packed"), uint8(15)]);
    const high = b.op("BitShift", [input("packed"), uint8(4)], { direction: string("RIGHT") });
    const pairs = [low, high].map((x) => b.reshape(x, [ROWS, COLUMNS / 2, 1]));
    const integers = b.op("Cast", [b.op("Concat", pairs, { axis: int(2) })], { to: int(1) });
    const centred = b.op("Sub", [b.reshape(integers, [ROWS, BLOCKS, BLOCK]), b.scalar(8)]);
    return b.op("Mul", [centred, input("scaleColumns")]);
  },
  "MatMulNBits, accuracy level 1": (b, input) =>
    b.microsoft("MatMulNBits", [input("x"), input("blob"), input("scales")], {
      K: int(COLUMNS),
      N: int(ROWS),
      bits: int(4),
      block_size: int(BLOCK),
      accuracy_level: int(1),
    }),
  "Gemm, float": (b, input) => b.op("Gemm", [input("x"), input("float")], { transB: int(1) }),
};

using runner = createOrtRunner({ ortLib: Deno.args[0], threads: 2 });
console.log(`${runner.description}, ${ROWS}x${COLUMNS} in blocks of ${BLOCK}, ${TOKENS} tokens`);
for (const [name, emit] of Object.entries(FORMS)) {
  const b = new GraphBuilder(inferTraining);
  const input = (key: string) =>
    b.has(key) ? key : b.input(key, TENSORS[key].dtype, TENSORS[key].dims);
  const graph = b.build(name, [emit(b, input)]);
  const model = { irVersion: 10, opsets: TRAINING_OPSETS, graph, metadata: {} };
  using executable = await runner.compile(model, { label: name, memoryPattern: false });
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name }) => [name, runner.upload(TENSORS[name])]),
  );
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    const results = await executable.run(feeds);
    times.push(performance.now() - start);
    for (const result of Object.values(results)) result[Symbol.dispose]();
  }
  for (const feed of Object.values(feeds)) feed[Symbol.dispose]();
  console.log(`${name}: ${median(times).toFixed(2)} ms`);
}
