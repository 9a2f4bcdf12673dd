/**
 * Tests whether products in 8-bit integers saturate on this processor: ONNX Runtime's kernels for x86
 * with AVX2 and without VNNI add pairs of products of unsigned and signed integers in 16 bits, and clip
 * the sums.
 */
import { type CodeType, ZERO_POINTS } from "../graph/codes.ts";
import { elementCount, float32, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import { type Graph, MICROSOFT } from "../graph/types.ts";
import {
  activationType,
  type IntegerForm,
  isPaired,
  weightType,
} from "../ops/internal/integer_form.ts";
import { RuntimeFailure } from "../errors.ts";
import type { Runner } from "./runner.ts";

/** Sizes of several vectors in each direction, with sums that float32 represents exactly. */
const [ROWS, INNER, COLUMNS] = [16, 64, 48];
/** Largest distance from the zero point. */
const LARGEST = 127;

/** Weights that are largest everywhere, or only at every other place along both axes, as in `u8s8_paired`. */
type Weights = "all" | "paired";

/** Results by runner and types, which do not change. */
const found = new WeakMap<Runner, Map<string, Promise<boolean>>>();

/** Whether products in a form saturate: {@linkcode saturates} with the weights that the form rounds to. */
export function formSaturates(runner: Runner, form: IntegerForm): Promise<boolean> {
  const weights = isPaired(form) ? "paired" : "all";
  return saturates(runner, activationType(form), weightType(form), weights);
}

/**
 * Multiplies the largest integers of two types, once per runner, and checks the sum. A runtime without
 * the operator cannot saturate.
 */
export function saturates(
  runner: Runner,
  activations: CodeType,
  weights: CodeType,
  which: Weights = "all",
): Promise<boolean> {
  const types = `${activations} by ${which === "all" ? "" : "paired "}${weights}`;
  const known = found.get(runner) ?? new Map<string, Promise<boolean>>();
  const answer = known.get(types) ??
    multiplyLargest(runner, [activations, weights], which, `largest ${types}`);
  found.set(runner, known.set(types, answer));
  return answer;
}

async function multiplyLargest(
  runner: Runner,
  [activations, weights]: readonly [CodeType, CodeType],
  which: Weights,
  name: string,
): Promise<boolean> {
  const graph = product(activations, weights, name);
  const count = which === "all" ? INNER : INNER / 2;
  try {
    using session = await runner.compile(
      { irVersion: 8, opsets: { "": 17, [MICROSOFT]: 1 }, graph, metadata: {} },
      { label: graph.name },
    );
    using x = runner.wrap(filled(activations, [ROWS, INNER], LARGEST));
    using w = runner.wrap(largest(weights, which));
    using sums = (await session.run({ x, w })).y;
    return Array.from(toNumbers(sums.view())).some((sum) => sum !== count * LARGEST * LARGEST);
  } catch (error) {
    if (error instanceof RuntimeFailure) return false;
    throw error;
  }
}

function product(activations: CodeType, weights: CodeType, name: string): Graph {
  return {
    name,
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

function largest(weights: CodeType, which: Weights): Tensor {
  const all = filled(weights, [INNER, COLUMNS], LARGEST);
  if (which === "all") return all;
  const isOdd = (i: number) => (Math.floor(i / COLUMNS) + i % COLUMNS) % 2 === 1;
  return { ...all, bytes: all.bytes.map((code, i) => isOdd(i) ? ZERO_POINTS[weights] : code) };
}

/** A tensor filled with one number, relative to the middle of the type's range. */
function filled(dtype: CodeType, dims: readonly number[], value: number): Tensor {
  return tensor(dtype, dims, new Uint8Array(elementCount(dims)).fill(ZERO_POINTS[dtype] + value));
}
