// A file of a few hundred bytes can ask for any amount of memory.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BoundSizes } from "../../src/graph/size.ts";
import { forgetPeak, memoryOf } from "../../scripts/campaigns/hostile/process.ts";
import { EXIT, RefusedError } from "../../src/errors.ts";
import { int } from "../../src/graph/attributes.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { runMemory } from "../../src/runtime/memory_limit.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { type CompileOptions, OWN_ARENA, type Runner } from "../../src/runtime/runner.ts";
import { StepSlab } from "../../src/train/step_slab.ts";
import { tinyModel, type TinyNode } from "../helpers/ort.ts";

const LIMIT = 200e6;

/** What is joined to itself 30 times: 4 GB of a single number. */
const doubled = (from: string) =>
  Array.from({ length: 30 }, (_, i): TinyNode => {
    const value = i === 0 ? from : `doubled${i}`;
    return ["Concat", [value, value], [`doubled${i + 1}`], { axis: int(0) }];
  });

/** The sum of what is doubled. */
const summed = (from: string) =>
  tinyModel({
    inputs: { x: ["float32", ["n"]] },
    outputs: { y: ["float32", []] },
    initializers: { constant: float32([1], [1]) },
    nodes: [
      ...doubled(from),
      ["Add", ["x", "doubled30"], ["sum"]],
      ["ReduceSum", ["sum"], ["y"], { keepdims: int(0) }],
    ],
  });

async function sum(runner: Runner, from: string, options?: CompileOptions) {
  using executable = await runner.compile(summed(from), options);
  using x = runner.upload(float32([1], [1]));
  await executable.run({ x });
}

for (
  const [what, from, options] of [
    ["that multiplies its input", "x", {}],
    ["that multiplies a constant", "constant", {}],
    ["with an arena of its own", "x", { config: OWN_ARENA }],
  ] as const
) {
  Deno.test(`run() of a graph ${what} is refused within the limit, naming the node`, async () => {
    using runner = createOrtRunner({ threads: 1, memoryBytes: LIMIT, logLevel: "fatal" });
    forgetPeak();
    const before = memoryOf().residentBytes;
    const error = await assertRejects(() => sum(runner, from, options), RefusedError);
    const grown = memoryOf().peakBytes - before;
    assert(grown < 2 * LIMIT, `it took ${grown} bytes`);
    assert(/Concat "node2\d" needs \d+ MB, .* are left/.test(error.message), error.message);
    assertEquals(error.exitCode, EXIT.refused);
    // What comes after has the memory again.
    using small = await runner.compile(tinyModel({
      inputs: { x: ["float32", ["n"]] },
      outputs: { y: ["float32", ["n"]] },
      nodes: [["Neg", ["x"], ["y"]]],
    }));
    using x = runner.upload(float32([1], [1]));
    assertEquals((await small.run({ x })).y.read(), float32([1], [-1]));
  });
}

Deno.test("allocate() refuses what the limit has no room for beside what is there", () => {
  using runner = createOrtRunner({ threads: 1, memoryBytes: LIMIT, logLevel: "fatal" });
  using first = runner.allocate("float32", [30, 1_000_000]);
  const error = assertThrows(() => runner.allocate("float32", [30, 1_000_000]), RefusedError);
  assert(error.message.includes("would then need 240 MB"), error.message);
  first[Symbol.dispose]();
  runner.allocate("float32", [30, 1_000_000])[Symbol.dispose]();
});

Deno.test("StepSlab refuses a step beyond the limit, naming its largest tensor", () => {
  using runner = createOrtRunner({ threads: 1, memoryBytes: LIMIT, logLevel: "fatal" });
  using slab = new StepSlab(runner);
  const dims = [100, 1_000_000];
  const place = { offset: 0, bytes: 400e6, dtype: "float32", dims } as const;
  const memory = { bytes: 400e6, placements: new Map([["scores", place]]) };
  const error = assertThrows(
    () => slab.tensorsOf([{ calls: [], release: [], memory, sizes: new BoundSizes(new Map()) }]),
    RefusedError,
  );
  assert(error.message.includes('"scores", float32[100,1000000]'), error.message);
});

Deno.test("runMemory() is below 1 GB for a file below 1 MB, and what is free at most", () => {
  assert(runMemory(1e6) < 1e9);
  assertEquals(runMemory(100e6, 4e9), 4e9);
  // MiniLM: attention of 32 texts of 512 tokens takes 1.2 GB.
  assert(runMemory(23e6) > 5e9);
});
