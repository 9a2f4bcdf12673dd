/** What the runner takes of memory, time and the event loop. */
import { assert, assertEquals } from "@std/assert";
import { float32, int64, tensor, toNumbers } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { openMapped } from "../../src/system/mapped_file.ts";
import { processMemory } from "../../src/system/memory.ts";
import { tinyModel } from "../helpers/ort.ts";

const MIB = 2 ** 20;

Deno.test("1,000 runs, bindings and uploads leave no memory behind", async () => {
  using runner = createOrtRunner({ threads: 2 });
  // 1 MiB a tensor: one that leaked in each run would show as a gigabyte.
  const size = MIB / 4;
  using executable = await runner.compile(tinyModel({
    inputs: { x: ["float32", [size]], y: ["float32", [size]] },
    outputs: { sum: ["float32", [size]], difference: ["float32", [size]] },
    nodes: [["Add", ["x", "y"], ["sum"]], ["Sub", ["x", "y"], ["difference"]]],
  }));
  const value = float32([size], new Float32Array(size).fill(1));
  using y = runner.wrap(value);
  const once = async () => {
    using x = runner.upload(value);
    const { sum, difference } = await executable.run({ x, y });
    using bound = executable.bind({ x: sum, y }, { difference });
    await bound.run();
    sum[Symbol.dispose]();
    difference[Symbol.dispose]();
  };
  for (let i = 0; i < 50; i++) await once();
  const before = processMemory().rssBytes;
  for (let i = 0; i < 1000; i++) await once();
  const grownBytes = processMemory().rssBytes - before;
  assert(grownBytes < 24 * MIB, `1,000 runs grew the process by ${grownBytes / MIB} MiB`);
});

Deno.test("100 sessions and failed sessions leave no memory behind", async () => {
  using runner = createOrtRunner({ threads: 2 });
  const weights = float32([MIB / 4], new Float32Array(MIB / 4).fill(2));
  const good = tinyModel({
    inputs: { x: ["float32", [MIB / 4]] },
    outputs: { y: ["float32", [MIB / 4]] },
    initializers: { w: weights },
    nodes: [["Add", ["x", "w"], ["y"]]],
  });
  const bad = tinyModel({
    inputs: { x: ["float32", [MIB / 4]] },
    outputs: { y: ["float32", [MIB / 4]] },
    initializers: { w: weights },
    nodes: [["MatMulOfAnotherWorld", ["x", "w"], ["y"]]],
  });
  const once = async () => {
    (await runner.compile(good))[Symbol.dispose]();
    const failed = await runner.compile(bad).then(() => false, () => true);
    assert(failed);
  };
  for (let i = 0; i < 10; i++) await once();
  const before = processMemory().rssBytes;
  for (let i = 0; i < 100; i++) await once();
  const grownBytes = processMemory().rssBytes - before;
  assert(grownBytes < 24 * MIB, `100 sessions grew the process by ${grownBytes / MIB} MiB`);
});

Deno.test("run() and compile() let the event loop turn", async () => {
  using runner = createOrtRunner({ threads: 1, spinning: false });
  const size = 768;
  const square = [size, size];
  using executable = await runner.compile(tinyModel({
    inputs: { x: ["float32", square] },
    outputs: { y: ["float32", square] },
    nodes: Array.from(
      { length: 12 },
      (_, i) => ["MatMul", [i === 0 ? "x" : `x${i}`, "x"], [i === 11 ? "y" : `x${i + 1}`]] as const,
    ),
  }));
  using x = runner.allocate("float32", square);
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setTimeout(turn, 1);
  };
  const started = performance.now();
  setTimeout(turn, 1);
  const { y } = await executable.run({ x });
  running = false;
  const elapsedMs = performance.now() - started;
  y[Symbol.dispose]();
  // A blocking call would let no timer fire at all.
  assert(elapsedMs > 20, `the run is too short to tell: ${elapsedMs} ms`);
  assert(turns >= 4, `only ${turns} turns in ${elapsedMs} ms`);
  await new Promise((resolve) => setTimeout(resolve, 5));
});

/** y = w[x]: reads a few rows of a large matrix. */
const rows = 4096, columns = 4096, weightBytes = rows * columns * 4;
const lookup = (bytes: Uint8Array) =>
  tinyModel({
    inputs: { x: ["int64", [1]] },
    outputs: { y: ["float32", [1, columns]] },
    initializers: { w: tensor("float32", [rows, columns], bytes) },
    nodes: [["Gather", ["w", "x"], ["y"]]],
  });

Deno.test("compile() leaves weights of a mapped file in the file", async () => {
  const path = await Deno.makeTempFile();
  const offset = 52;
  {
    using file = await Deno.open(path, { write: true });
    await file.truncate(offset + weightBytes);
    await file.seek(offset + 7 * columns * 4, Deno.SeekMode.Start);
    await file.write(float32([1], [0.5]).bytes);
  }
  using runner = createOrtRunner({ threads: 2 });
  using mapped = openMapped(path);
  const before = processMemory().anonymousBytes;
  using executable = await runner.compile(lookup(mapped.bytes.subarray(offset)));
  using x = runner.upload(int64([1], [7]));
  using y = (await executable.run({ x })).y;
  assertEquals(toNumbers(y.read())[0], 0.5);
  const grownBytes = processMemory().anonymousBytes - before;
  assert(grownBytes < 24 * MIB, `${grownBytes / MIB} MiB for ${weightBytes / MIB} MiB of weights`);
  await Deno.remove(path);
});

Deno.test("compile() makes one copy of weights in memory, none in the protobuf", async () => {
  using runner = createOrtRunner({ threads: 2 });
  const bytes = new Uint8Array(weightBytes).fill(1);
  const before = processMemory().anonymousBytes;
  using _executable = await runner.compile(lookup(bytes));
  const grownBytes = processMemory().anonymousBytes - before;
  assert(grownBytes < 1.5 * weightBytes, `${grownBytes / MIB} MiB for ${weightBytes / MIB} MiB`);
});

Deno.test("a profile names the nodes that ran, and says when it began", async () => {
  const folder = await Deno.makeTempDir();
  using runner = createOrtRunner({ threads: 2 });
  const made = performance.now();
  using executable = await runner.compile(
    tinyModel({
      inputs: { x: ["float32", [4]] },
      outputs: { y: ["float32", [4]] },
      nodes: [["Sigmoid", ["x"], ["y"]]],
    }),
    { profilePrefix: `${folder}/trace` },
  );
  using x = runner.allocate("float32", [4]);
  const ran = performance.now();
  (await executable.run({ x })).y[Symbol.dispose]();
  const { path, startedAt } = executable.endProfiling();
  // The runtime's clock and this process's are the system's, to its steps.
  assert(made - 10 < startedAt && startedAt < ran + 10, `${made} ${startedAt} ${ran}`);
  assert(path.startsWith(`${folder}/trace`), path);
  const events: { name: string }[] = JSON.parse(await Deno.readTextFile(path));
  assert(events.some((event) => event.name.startsWith("node0")), "the trace lacks node0");
  await Deno.remove(folder, { recursive: true });
});
