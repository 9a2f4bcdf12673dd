import { assert } from "@std/assert";
import { RuntimeScaleProducts } from "../../src/model/runtime_scale_products.ts";
import { plainScaleProducts } from "../../src/quant/scale_products.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { correlatedGram, gaussians } from "../helpers/quant.ts";

Deno.test("RuntimeScaleProducts computes what loops do, whatever the rows and blocks", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using products = new RuntimeScaleProducts(runner);
  for (const [rows, cols, groupCols] of [[5, 64, 16], [7, 64, 16], [3, 96, 32], [4, 48, 48]]) {
    const groups = cols / groupCols;
    const random = gaussians(rows);
    const values = (length: number) => Float32Array.from({ length }, random);
    const gram = correlatedGram(2, cols, 200, 6).values;
    const [centred, errors] = [values(cols * rows), values(cols * rows)];
    const sums = () => ({
      normal: new Float32Array(groups * groups * rows),
      right: new Float32Array(groups * rows),
      energies: new Float32Array(rows),
    });
    const [found, expected] = [sums(), sums()];
    const size = { rows, cols, groupCols };
    await products.compute(gram, centred, errors, size, found);
    await plainScaleProducts(gram, centred, errors, size, expected);
    for (const part of ["normal", "right", "energies"] as const) {
      const largest = Math.max(...expected[part].map(Math.abs));
      for (const [i, value] of found[part].entries()) {
        assert(Math.abs(value - expected[part][i]) < 1e-4 * largest, `${part}[${i}]: ${value}`);
      }
    }
  }
});
