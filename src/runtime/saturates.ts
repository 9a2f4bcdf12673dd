/**
 * Whether products in 8-bit integers add up wrong on this processor: ONNX Runtime's kernels for x86
 * without VNNI add pairs of products of unsigned and signed integers in 16 bits, and cut what does
 * not fit there. Their slower way, with unsigned weights, is a session's option.
 */
import { float32, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import { type Graph, MICROSOFT } from "../graph/types.ts";
import type { Runner } from "./runner.ts";

export type IntegerType = "int8" | "uint8";

/** The option of a session that multiplies by constant weights as unsigned ones: `"1"`. */
export const PRECISION = "session.x64quantprecision";

/** Several vectors in each direction, and sums that float32 holds exactly. */
const [ROWS, INNER, COLUMNS] = [16, 64, 48];
/** Largest distance from the zero point. */
const LARGEST = 127;

/**
 * Multiplies the largest integers of two types, and looks whether their sum comes out.
 *
 * @throws {RuntimeFailure} where the runtime has no such kernel
 */
export async function saturates(
  runner: Runner,
  activations: IntegerType,
  weights: IntegerType,
): Promise<boolean> {
  const graph = product(activations, weights);
  using session = await runner.compile(
    { irVersion: 8, opsets: { "": 17, [MICROSOFT]: 1 }, graph, metadata: {} },
    { label: graph.name, config: { [PRECISION]: "0" } },
  );
  using x = runner.upload(filled(activations, [ROWS, INNER], LARGEST));
  using w = runner.upload(filled(weights, [INNER, COLUMNS], LARGEST));
  using sums = (await session.run({ x, w })).y;
  return Array.from(toNumbers(sums.read())).some((sum) => sum !== INNER * LARGEST * LARGEST);
}

function product(activations: IntegerType, weights: IntegerType): Graph {
  return {
    name: `largest ${activations} by ${weights}`,
    inputs: [
      { name: "x", type: { dtype: activations, shape: [ROWS, INNER] } },
      { name: "w", type: { dtype: weights, shape: [INNER, COLUMNS] } },
    ],
    outputs: [{ name: "y", type: { dtype: "float32", shape: [ROWS, COLUMNS] } }],
    initializers: new Map([
      ["one", float32([], [1])],
      ["x_zero", filled(activations, [], 0)],
      ["w_zero", filled(weights, [], 0)],
    ]),
    nodes: [{
      name: "product",
      opType: "MatMulIntegerToFloat",
      domain: MICROSOFT,
      inputs: ["x", "w", "one", "one", "x_zero", "w_zero"],
      outputs: ["y"],
      attributes: {},
    }],
    valueInfo: new Map(),
  };
}

/** A tensor of one number, counted from the middle of the type's range. */
function filled(dtype: IntegerType, dims: readonly number[], value: number): Tensor {
  const count = dims.reduce((product, dim) => product * dim, 1);
  return tensor(dtype, dims, new Uint8Array(count).fill(value + (dtype === "uint8" ? 128 : 0)));
}
