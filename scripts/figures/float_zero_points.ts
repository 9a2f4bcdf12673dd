/**
 * Whether ONNX Runtime's MatMulNBits keeps its speed where zero points are floats, as training them
 * would need (QA-LoRA's form, arXiv:2309.14717): 4 bits in blocks of 32, without zero points, with
 * packed ones, and with floats, for one row of activations and for many. Prints a JSON line a case:
 * median milliseconds, and times as long as without zero points.
 *
 * usage: deno run -A scripts/figures/float_zero_points.ts [ROUNDS]
 */
import { int } from "../../src/graph/attributes.ts";
import { float32, float32Over, type Tensor } from "../../src/graph/tensor.ts";
import { MICROSOFT, type Model } from "../../src/graph/types.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "../../src/statistics.ts";
import { processor } from "../../src/system/processor.ts";

const ROWS = 1536;
const COLS = 576;
const BLOCK = 32;
const BLOCKS = COLS / BLOCK;
const rounds = Number(Deno.args[0] ?? 200);

const filled = (length: number) =>
  Float32Array.from({ length }, (_, i) => ((i * 37) % 101 - 50) / 100);
const bytes = (dims: readonly number[], of: (i: number) => number): Tensor => ({
  dtype: "uint8",
  dims,
  bytes: Uint8Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => of(i)),
});

const ZERO_POINTS: Readonly<Record<string, Tensor | undefined>> = {
  none: undefined,
  packed: bytes([ROWS * Math.ceil(BLOCKS / 2)], () => 0x88),
  floats: float32([ROWS * BLOCKS], new Float32Array(ROWS * BLOCKS).fill(8)),
};

function model(zeroPoints: Tensor | undefined, accuracyLevel: number): Model {
  return {
    irVersion: 8,
    opsets: { "": 17, [MICROSOFT]: 1 },
    metadata: {},
    graph: {
      name: "product",
      inputs: [{ name: "x", type: { dtype: "float32", shape: ["rows", COLS] } }],
      outputs: [{ name: "y", type: { dtype: "float32", shape: ["rows", ROWS] } }],
      initializers: new Map([
        ["codes", bytes([ROWS, BLOCKS, BLOCK / 2], (i) => (i * 73) & 0xff)],
        ["scales", float32([ROWS * BLOCKS], filled(ROWS * BLOCKS).map((x) => 0.01 + x * x / 100))],
        ...zeroPoints === undefined ? [] : [["zero_points", zeroPoints] as const],
      ]),
      nodes: [{
        name: "product",
        opType: "MatMulNBits",
        domain: MICROSOFT,
        inputs: ["x", "codes", "scales", ...zeroPoints === undefined ? [] : ["zero_points"]],
        outputs: ["y"],
        attributes: {
          K: int(COLS),
          N: int(ROWS),
          bits: int(4),
          block_size: int(BLOCK),
          accuracy_level: int(accuracyLevel),
        },
      }],
      valueInfo: new Map(),
    },
  };
}

using runner = createOrtRunner();
const { name, threads } = processor();
for (const accuracyLevel of [0, 4]) {
  for (const rows of [1, 128]) {
    let plain: number | undefined;
    for (const [zeroPoints, tensor] of Object.entries(ZERO_POINTS)) {
      using executable = await runner.compile(model(tensor, accuracyLevel), { label: zeroPoints });
      using x = runner.upload(float32Over([rows, COLS], filled(rows * COLS)));
      const times: number[] = [];
      for (let i = 0; i < rounds + 10; i++) {
        const start = performance.now();
        const { y } = await executable.run({ x });
        if (i >= 10) times.push(performance.now() - start);
        y[Symbol.dispose]();
      }
      const milliseconds = median(times);
      plain ??= milliseconds;
      const measured = { accuracyLevel, rows, zeroPoints, milliseconds };
      const machine = { runtime: runner.description, processor: `${name}, ${threads} threads` };
      console.log(JSON.stringify({ ...measured, times_as_long: milliseconds / plain, ...machine }));
    }
  }
}
