/** Reproducible numbers, comparison within a tolerance, and running a graph on host tensors. */
import { assert, assertEquals } from "@std/assert";
import { type Tensor, tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Random } from "../../src/random.ts";
import type { Executable, Runner } from "../../src/runtime/runner.ts";

/** Reproducible numbers in (-1.5, 1.5), another sequence for each text. */
export function numbersFor(text: string, count: number): number[] {
  let state = 2166136261;
  for (const char of text) state = Math.imul(state ^ char.charCodeAt(0), 16777619) >>> 0;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 3;
  });
}

/** A matrix of 8-bit codes. */
export function codesOf(random: Random, rows: number, columns: number): Tensor {
  const bytes = Uint8Array.from({ length: rows * columns }, () => random.next() % 255);
  return tensor("int8", [rows, columns], bytes);
}

/** Runs a compiled graph on host tensors. */
export async function runHost(
  runner: Runner,
  executable: Executable,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  using stack = new DisposableStack();
  const held = Object.fromEntries(
    Object.entries(feeds).map(([name, value]) => [name, stack.use(runner.upload(value))]),
  );
  const out = await executable.run(held);
  return Object.fromEntries(
    Object.entries(out).map(([name, value]) => {
      using held = value;
      return [name, held.read()];
    }),
  );
}

/** Throws where two tensors differ by more than `tolerance` relative to the largest value (or 1). */
export function assertNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  assertEquals(actual.length, expected.length, `${what}: number of elements`);
  const finite = Array.from(expected).filter(Number.isFinite).map(Math.abs);
  const limit = tolerance * finite.reduce((most, x) => Math.max(most, x), 1);
  for (let i = 0; i < actual.length; i++) {
    const equal = Object.is(actual[i], expected[i]) || actual[i] === expected[i];
    assert(
      equal || Math.abs(actual[i] - expected[i]) <= limit,
      `${what}, element ${i}: expected ${expected[i]}: current value is ${actual[i]}`,
    );
  }
}

/** Throws unless two tensors have one type and shape and nearly equal contents. */
export function assertTensor(
  actual: Tensor,
  expected: Tensor,
  tolerance: number,
  what: string,
): void {
  assertEquals(actual.dtype, expected.dtype, `${what}: type`);
  assertEquals([...actual.dims], [...expected.dims], `${what}: shape`);
  assertNear(toNumbers(actual), toNumbers(expected), tolerance, what);
}
