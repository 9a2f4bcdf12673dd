import { assert, assertEquals } from "@std/assert";
import { float32, tensor } from "../../src/graph/tensor.ts";
import { gaussian } from "../../src/lora/init.ts";
import { pairedScales } from "../../src/ops/internal/paired_rows.ts";
import { emitQuantizedLinear } from "../../src/ops/internal/quantized_linear.ts";
import { emitRowCodes, emitRowScales } from "../../src/ops/internal/rounded_rows.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { formSaturates } from "../../src/runtime/saturates.ts";
import { runEmitted } from "../helpers/emitted.ts";

const random = Random.fromSeed(5);
const uniform = () => random.next() / 2 ** 31 - 1;

/** Matrices whose neighbours are large together somewhere, of even and of odd sizes. */
const MATRICES: readonly [number, number, () => number][] = [
  [6, 8, uniform],
  [7, 33, uniform],
  [33, 7, () => 1e-3 * uniform() ** 3],
  [5, 64, () => 1],
  [8, 9, () => -2],
  [3, 5, () => 0],
  [1, 1, uniform],
];

for (const [rows, columns, draw] of MATRICES) {
  Deno.test(`pairedScales() keeps neighbours of one sign within 128 along both axes, ${rows}x${columns}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    const values = Float32Array.from({ length: rows * columns }, draw);
    const [alone, scales, codes] = await runEmitted(
      runner,
      { w: float32([rows, columns], values) },
      (b) => {
        const alone = emitRowScales(b, "w");
        const scales = pairedScales(b, "w", alone);
        return [alone, scales, emitRowCodes(b, "w", scales, "int8")];
      },
    );
    const at = (row: number, column: number) =>
      row < rows && column < columns ? codes[row * columns + column] : 0;
    for (let row = 0; row < rows; row++) {
      // At twice the scale, two numbers that fit alone fit together; along the other axis twice again.
      assert(scales[row] >= alone[row] && scales[row] <= 4.1 * alone[row]);
      for (let column = 0; column < columns; column++) {
        const pairs = [
          ...(column % 2 === 0 ? [at(row, column + 1)] : []),
          ...(row % 2 === 0 ? [at(row + 1, column)] : []),
        ];
        for (const other of pairs) {
          const [code, sign] = [at(row, column), Math.sign(at(row, column))];
          const sum = sign === Math.sign(other) ? code + other : 0;
          assert(Math.abs(sum) <= 128, `${code} + ${other}`);
        }
        const error = Math.abs(values[row * columns + column] - at(row, column) * scales[row]);
        assert(error <= 0.501 * scales[row], "rounded to the nearest");
      }
    }
  });
}

Deno.test("pairedScales() of weights that rotation has made normal are about 1.45 times as large", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const size = 576;
  const [alone, scales] = await runEmitted(
    runner,
    { w: float32([size, size], Float32Array.from({ length: size ** 2 }, () => gaussian(random))) },
    (b) => {
      const alone = emitRowScales(b, "w");
      return [alone, pairedScales(b, "w", alone)];
    },
  );
  let sum = 0;
  for (let row = 0; row < size; row++) sum += scales[row] / alone[row];
  const growth = sum / size;
  assert(growth > 1.4 && growth < 1.5, `steps grow by ${growth}`);
});

Deno.test("products with paired weights are right on every processor, in both directions", async () => {
  using runner = createOrtRunner({ threads: 1 });
  assertEquals(await formSaturates(runner, "u8s8_paired"), false);
  const [size, rows] = [64, 16];
  // The largest pairs that there are, at the largest activations.
  const weights = Int8Array.from({ length: size * size }, (_, i) => {
    const large = (Math.floor(i / size) + i % size) % 2 === 0;
    return (large ? 127 : 1) * (i % 3 === 0 ? -1 : 1);
  });
  const x = Float32Array.from({ length: rows * size }, (_, i) => i % size % 5 === 4 ? -127 : 127);
  for (const transB of [false, true]) {
    const [y] = await runEmitted(
      runner,
      {
        x: float32([rows, size], x),
        w: tensor("int8", [size, size], new Uint8Array(weights.buffer)),
      },
      (b) => [emitQuantizedLinear(b, { x: "x", weight: "w", transB })],
    );
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < size; column++) {
        let sum = 0;
        for (let i = 0; i < size; i++) {
          sum += x[row * size + i] * weights[transB ? column * size + i : i * size + column];
        }
        assert(Math.abs(y[row * size + column] - sum) <= 1e-3 * Math.max(1, Math.abs(sum)));
      }
    }
  }
});
