/**
 * Tests whether products in 8-bit integers saturate on this processor: ONNX Runtime's kernels for x86
 * with AVX2 and without VNNI add pairs of products of unsigned and signed integers in 16 bits, and clip
 * the sums.
 */
import { type CodeType, ZERO_POINTS } from "../graph/codes.ts";
import { elementCount, float32, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import { type Graph, MICROSOFT } from "../graph/types.ts";
import { RuntimeFailure } from "../errors.ts";
import type { Runner } from "./runner.ts";

/** Sizes of several vectors in each direction, with sums that float32 represents exactly. */
const [ROWS, INNER, COLUMNS] = [16, 64, 48];
/** Largest distance from the zero point. */
const LARGEST = 127;

/** Results by runner and types, which do not change. */
const found = new WeakMap<Runner, Map<string, Promise<boolean>>>();

/**
 * Multiplies the largest integers of two types, once per runner, and checks the sum. A runtime without
 * the operator cannot saturate.
 */
export function saturates(
  runner: Runner,
  activations: CodeType,
  weights: CodeType,
): Promise<boolean> {
  const types = `${activations} by ${weights}`;
  const known = found.get(runner) ?? new Map<string, Promise<boolean>>();
  const answer = known.get(types) ?? multiplyLargest(runner, activations, weights);
  found.set(runner, known.set(types, answer));
  return answer;
}

async function multiplyLargest(
  runner: Runner,
  activations: CodeType,
  weights: CodeType,
): Promise<boolean> {
  const graph = product(activations, weights);
  try {
    using session = await runner.compile(
      { irVersion: 8, opsets: { "": 17, [MICROSOFT]: 1 }, graph, metadata: {} },
      { label: graph.name },
    );
    using x = runner.wrap(filled(activations, [ROWS, INNER], LARGEST));
    using w = runner.wrap(filled(weights, [INNER, COLUMNS], LARGEST));
    using sums = (await session.run({ x, w })).y;
    return Array.from(toNumbers(sums.view())).some((sum) => sum !== INNER * LARGEST * LARGEST);
  } catch (error) {
    if (error instanceof RuntimeFailure) return false;
    throw error;
  }
}

function product(activations: CodeType, weights: CodeType): Graph {
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

/** A tensor filled with one number, relative to the middle of the type's range. */
function filled(dtype: CodeType, dims: readonly number[], value: number): Tensor {
  return tensor(dtype, dims, new Uint8Array(elementCount(dims)).fill(ZERO_POINTS[dtype] + value));
}
