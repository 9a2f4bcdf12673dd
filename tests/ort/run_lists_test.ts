import { assert, assertEquals, assertRejects } from "@std/assert";
import { RuntimeFailure } from "../../src/errors.ts";
import { float32, toNumbers } from "../../src/graph/tensor.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { DeviceTensor, ListedRun, Runner } from "../../src/runtime/runner.ts";
import { processMemory } from "../../src/system/memory.ts";
import { tinyModel } from "../helpers/ort.ts";

const MIB = 2 ** 20;

/** y = x + s, of `size` elements. */
const addition = (runner: Runner, size: number) =>
  runner.compile(
    tinyModel({
      inputs: { x: ["float32", [size]], s: ["float32", [size]] },
      outputs: { y: ["float32", [size]] },
      nodes: [["Add", ["x", "s"], ["y"]]],
    }),
    { singleThread: true, label: "addition" },
  );

const filled = (size: number, value: number) => float32([size], new Float32Array(size).fill(value));
const first = (tensor: DeviceTensor) => toNumbers(tensor.read())[0];

Deno.test("runLists() hands results from list to list in order, whichever is quicker", async () => {
  using runner = createOrtRunner({ threads: 2 });
  using small = await addition(runner, 4);
  using start = runner.upload(filled(4, 1));
  using place = runner.allocate("float32", [4]);
  const values = [10, 100, 1000].map((value) => runner.upload(filled(4, value)));
  // Each list adds its value to a sum, the first after many runs of other things.
  const busy: ListedRun = { executable: small, feeds: { x: start, s: start }, into: { y: place } };
  const lists = values.map((x, list): ListedRun[] => {
    const s = list === 0 ? start : { list: list - 1, run: list === 1 ? 200 : 0, output: "y" };
    const sums: ListedRun = { executable: small, feeds: { x, s }, into: {} };
    return list === 0 ? [...new Array(200).fill(busy), sums] : [sums];
  });
  for (let i = 0; i < 20; i++) {
    const results = await runner.runLists(lists);
    assertEquals(results.map((list) => list.length), [201, 1, 1]);
    const left = results.flat().flatMap(({ outputs }) => Object.values(outputs));
    assertEquals(left.length, 1, "a sum that was taken is nobody's any more");
    assertEquals(first(left[0]), 1111);
    left[0][Symbol.dispose]();
    assertEquals(first(place), 2);
  }
});

Deno.test("runLists() begins a run after those of other lists that it names", async () => {
  using runner = createOrtRunner({ threads: 2 });
  using small = await addition(runner, 4);
  using one = runner.upload(filled(4, 1));
  using place = runner.allocate("float32", [4]);
  const busy: ListedRun = { executable: small, feeds: { x: one, s: one }, into: {} };
  const last: ListedRun = { ...busy, into: { y: place } };
  const reads: ListedRun = { executable: small, feeds: { x: place, s: one }, into: {} };
  for (let i = 0; i < 20; i++) {
    place.write(filled(4, 0));
    const results = await runner.runLists([
      [...new Array(200).fill(busy), last],
      [{ ...reads, after: [{ list: 0, run: 200 }] }],
    ]);
    assertEquals(first(results[1][0].outputs.y), 3);
    for (const tensor of results.flat().flatMap(({ outputs }) => Object.values(outputs))) {
      tensor[Symbol.dispose]();
    }
  }
});

Deno.test("runLists() takes numbers too small to be normal for zero where listsFlush says so", async () => {
  using runner = createOrtRunner({ threads: 2 });
  using small = await addition(runner, 4);
  using tiny = runner.upload(filled(4, 1e-39));
  using normal = runner.upload(filled(4, 1e-37));
  const sum = (x: DeviceTensor): ListedRun => ({ executable: small, feeds: { x, s: x }, into: {} });
  const lists = await runner.runLists([[sum(tiny)], [sum(normal)]]);
  const [flushed, kept] = lists.map(([{ outputs }]) => first(outputs.y));
  lists.forEach(([{ outputs }]) => outputs.y[Symbol.dispose]());
  assertEquals(flushed > 0, !runner.listsFlush);
  assertEquals(kept, Math.fround(2 * Math.fround(1e-37)));
});

Deno.test("runLists() gives one result to runs of all lists, and frees it after the last of them", async () => {
  using runner = createOrtRunner({ threads: 2 });
  const size = MIB;
  using large = await addition(runner, size);
  using one = runner.upload(filled(size, 1));
  const sum = (x: ListedRun["feeds"][string], s: ListedRun["feeds"][string]): ListedRun => ({
    executable: large,
    feeds: { x, s },
    into: {},
  });
  const of = (list: number, run: number) => ({ list, run, output: "y" });
  // Each list makes a value that both read, the first list's last one from what the second makes.
  const lists = [
    [sum(one, one), sum(of(0, 0), of(1, 0)), sum(of(0, 1), of(1, 1))],
    [sum(one, one), sum(of(0, 0), of(1, 0)), sum(of(1, 0), of(1, 0))],
  ];
  const once = async () => {
    const results = await runner.runLists(lists);
    const left = results.map((list) => list.flatMap(({ outputs }) => Object.values(outputs)));
    assertEquals(left.map((list) => list.map(first)), [[8], [4]]);
    for (const tensor of left.flat()) tensor[Symbol.dispose]();
  };
  for (let i = 0; i < 10; i++) await once();
  const before = processMemory().rssBytes;
  for (let i = 0; i < 50; i++) await once();
  const grown = processMemory().rssBytes - before;
  // A result that stayed would be 4 MiB a turn, 200 in all; allocators keep some tens beside other work.
  assert(grown < 120 * MIB, `50 turns grew the process by ${grown / MIB} MiB`);
});

Deno.test("runLists() writes into tensors that exist, and times each run", async () => {
  using runner = createOrtRunner({ threads: 1 });
  const size = MIB;
  using large = await addition(runner, size);
  using x = runner.upload(filled(size, 1));
  const places = [0, 1].map(() => runner.allocate("float32", [size]));
  const lists = places.map((y): ListedRun[] =>
    new Array(50).fill({ executable: large, feeds: { x, s: x }, into: { y } })
  );
  const results = await runner.runLists(lists);
  for (const list of results) {
    assert(list.every(({ milliseconds }) => milliseconds > 0 && milliseconds < 10_000));
  }
  assertEquals(places.map(first), [2, 2]);
});

Deno.test("runLists() that fails names the graph, ends the other lists, and works again", async () => {
  using runner = createOrtRunner({ threads: 2, logLevel: "fatal" });
  // The shapes fit the declared ones only where both are of one size.
  using open = await runner.compile(
    tinyModel({
      inputs: { x: ["float32", ["n"]], s: ["float32", ["m"]] },
      outputs: { y: ["float32", ["k"]] },
      nodes: [["Add", ["x", "s"], ["y"]]],
    }),
    { singleThread: true, label: "open" },
  );
  const size = MIB;
  using good = runner.upload(filled(size, 1));
  using bad = runner.upload(filled(3, 1));
  const sum = (x: DeviceTensor, s: ListedRun["feeds"][string]): ListedRun => ({
    executable: open,
    feeds: { x, s },
    into: {},
  });
  const failing = [
    [sum(good, good), sum(good, bad), sum(good, good)],
    [sum(good, { list: 0, run: 2, output: "y" })],
  ];
  const once = async () => {
    const error = await assertRejects(() => runner.runLists(failing), RuntimeFailure);
    assert(/^Cannot run "open": .*Add/.test(error.message), error.message);
  };
  for (let i = 0; i < 5; i++) await once();
  const before = processMemory().rssBytes;
  for (let i = 0; i < 50; i++) await once();
  const grown = processMemory().rssBytes - before;
  assert(grown < 24 * MIB, `50 failures grew the process by ${grown / MIB} MiB`);
  const [[{ outputs }]] = await runner.runLists([[sum(good, good)]]);
  assertEquals(first(outputs.y), 2);
});

Deno.test("runLists() that are asked for at once run one after the other", async () => {
  using runner = createOrtRunner({ threads: 2 });
  using small = await addition(runner, 4);
  using one = runner.upload(filled(4, 1));
  const chain = (count: number): ListedRun[] =>
    Array.from({ length: count }, (_, run) => ({
      executable: small,
      feeds: { x: one, s: run === 0 ? one : { list: 0, run: run - 1, output: "y" } },
      into: {},
    }));
  const all = await Promise.all([300, 200, 100].map((count) => runner.runLists([chain(count)])));
  const sums = all.map(([list]) => list.at(-1)!.outputs.y);
  assertEquals(sums.map(first), [301, 201, 101]);
});

Deno.test("runLists() ends where its runner is disposed of on the way", async () => {
  const runner = createOrtRunner({ threads: 2 });
  const large = await addition(runner, MIB);
  const x = runner.upload(filled(MIB, 1));
  const run: ListedRun = { executable: large, feeds: { x, s: x }, into: {} };
  const running = runner.runLists([[run, run], [run]]);
  runner[Symbol.dispose]();
  assertEquals((await running).length, 2);
  await assertRejects(async () => await runner.runLists([[run]]), ReferenceError);
});
