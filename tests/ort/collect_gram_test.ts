import { assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { float32, int64 } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { gramSource } from "../../src/model/collect_gram.ts";
import { RuntimeProduct } from "../../src/model/matrix_product.ts";
import { plainProduct } from "../../src/quant/product.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { gaussians } from "../helpers/quant.ts";

const COLS = 24;
const TABLE = Float32Array.from({ length: 8 * COLS }, gaussians(1));

/** Looks rows of a table up, and doubles them. */
function lookup(): Model {
  const node = (opType: string, inputs: string[], output: string) =>
    ({ name: output, opType, domain: "", inputs, outputs: [output], attributes: {} }) as const;
  const ids = { name: "input_ids", type: { dtype: "int64", shape: ["batch", "length"] } } as const;
  return {
    irVersion: 8,
    opsets: { "": 17 },
    metadata: {},
    graph: {
      name: "lookup",
      inputs: [ids],
      outputs: [{ name: "y" }],
      initializers: new Map([["table", float32([8, COLS], TABLE)]]),
      nodes: [node("Gather", ["table", "input_ids"], "x"), node("Add", ["x", "x"], "y")],
      valueInfo: new Map(),
    },
  };
}

/** Two sequences, the first of them padded. */
const BATCH = {
  inputIds: int64([2, 3], [1, 5, 0, 7, 2, 5]),
  attentionMask: int64([2, 3], [1, 1, 0, 1, 1, 1]),
  tokenCount: 5,
};

function expected(factor: number): Float64Array {
  const sum = new Float64Array(COLS * COLS);
  for (const id of [1, 5, 7, 2, 5]) {
    for (let i = 0; i < COLS; i++) {
      for (let j = 0; j < COLS; j++) {
        sum[i * COLS + j] += factor * TABLE[id * COLS + i] * TABLE[id * COLS + j];
      }
    }
  }
  return sum;
}

/** A runner whose tensors are not where kernels write. */
function elsewhere(runner: Runner): Runner {
  return new Proxy(runner, {
    get(target, name) {
      const value = name === "inPlace" ? false : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

for (const [where, wrap] of [["in place", (r: Runner) => r], ["elsewhere", elsewhere]] as const) {
  Deno.test(`gramSource() sums over the tokens of all sequences without padding, ${where}`, async () => {
    using runner = createOrtRunner({ spinning: false });
    const source = gramSource(wrap(runner), lookup(), { batches: () => [BATCH] });
    const request = (value: string) => ({ value, cols: COLS });
    for (const values of [["x", "y"], ["y"]]) {
      const grams = await source(values.map(request));
      assertEquals([...grams.keys()], values);
      for (const [name, gram] of grams) {
        assertEquals([gram.cols, gram.count], [COLS, 5]);
        const sums = expected(name === "x" ? 1 : 4);
        gram.values.forEach((value, i) => assertAlmostEquals(value, sums[i], 1e-4));
      }
    }
  });
}

Deno.test("gramSource() refuses data without tokens", async () => {
  using runner = createOrtRunner({ spinning: false });
  const source = gramSource(runner, lookup(), { batches: () => [] });
  await assertRejects(() => source([{ value: "x", cols: COLS }]), RangeError, "No data was given");
});

Deno.test("RuntimeProduct multiplies what lies inside of larger arrays, plain and transposed", async () => {
  using runner = createOrtRunner({ spinning: false });
  using product = await RuntimeProduct.open(runner);
  const random = (length: number, seed: number) => Float32Array.from({ length }, gaussians(seed));
  const [a, b] = [random(100, 2), random(200, 3).subarray(7)];
  for (const transposed of [false, true]) {
    for (const [m, k, n] of [[1, 1, 1], [5, 7, 9], [20, 5, 30]]) {
      const [out, wanted] = [new Float32Array(700), new Float32Array(700)];
      await product.multiply(a, b, out, { m, k, n, transposed });
      await plainProduct(a, b, wanted, { m, k, n, transposed });
      out.forEach((value, i) => assertAlmostEquals(value, wanted[i], 1e-4));
    }
  }
});
