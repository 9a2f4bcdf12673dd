import { assert, assertEquals, assertThrows } from "@std/assert";
import { BoundSizes } from "../../src/graph/size.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import type { Schedule } from "../../src/plan/schedule.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { StepSlab } from "../../src/train/step_slab.ts";

/** A schedule with one tensor between its calls, of so many numbers. */
function scheduleOf(numbers: number): Schedule {
  const place = { offset: 0, bytes: 4 * numbers, dtype: "float32", dims: [numbers] } as const;
  const memory = { bytes: 4 * numbers, placements: new Map([["x", place]]) };
  return { calls: [], release: [], memory, sizes: new BoundSizes(new Map()) };
}

Deno.test("StepSlab.tensorsOf() gives parts beside each other memory of their own, and a part the same whatever stands before it", () => {
  using runner = createOrtRunner({ threads: 1 });
  using slab = new StepSlab(runner);
  const [small, large, last] = [scheduleOf(10), scheduleOf(5000), scheduleOf(20)];
  const [first, second] = slab.tensorsOf([small, last]);
  const numbers = (length: number, value: number) => new Float32Array(length).fill(value);
  const write = (tensors: typeof first, length: number, value: number) =>
    tensors.get("x")!.write(float32([length], numbers(length, value)));
  write(first, 10, 1);
  write(second, 20, 2);
  const [other, again] = slab.tensorsOf([large, last]);
  assert(again === second, "placed once");
  write(other, 5000, 3);
  assertEquals(toNumbers(again.get("x")!.read()), numbers(20, 2));
  assert(slab.tensorsOf([small, last])[0] === first);
});

Deno.test("StepSlab.tensorsOf() frees tensors that some runs have not asked for, and makes them anew", () => {
  using runner = createOrtRunner({ threads: 1 });
  using slab = new StepSlab(runner);
  const [often, once] = [scheduleOf(10), scheduleOf(20)];
  const [kept] = slab.tensorsOf([often]);
  const [left] = slab.tensorsOf([once]);
  for (let run = 0; run < 4; run++) assert(slab.tensorsOf([often])[0] === kept);
  assertThrows(() => left.get("x")!.read());
  const [anew] = slab.tensorsOf([once]);
  anew.get("x")!.write(float32([20], new Float32Array(20).fill(3)));
  assertEquals(toNumbers(anew.get("x")!.read()), new Float32Array(20).fill(3));
  assert(slab.tensorsOf([often])[0] === kept);
});
