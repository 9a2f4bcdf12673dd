import { assert, assertEquals } from "@std/assert";
import {
  collectGarbage,
  freeBytes,
  processMemory,
  treeMemory,
  watchTree,
} from "../../src/system/memory.ts";

const MIB = 2 ** 20;

Deno.test("processMemory() follows what the process takes", () => {
  // What other tests of this process have left must not become free in between.
  collectGarbage(-Infinity);
  const before = processMemory();
  const taken = new Uint8Array(64 * MIB).fill(1);
  const after = processMemory();
  assert(after.anonymousBytes - before.anonymousBytes > 48 * MIB);
  assert(after.peakRssBytes >= after.rssBytes);
  assert(after.rssBytes >= after.anonymousBytes + after.fileBytes - 16 * MIB);
  assertEquals(taken[taken.length - 1], 1);
});

Deno.test("processMemory() of a process that does not exist is undefined", () => {
  // Beyond the largest process number that Linux gives.
  assertEquals(processMemory(2 ** 22 + 1), undefined);
});

// In a process of its own: that of the tests leaves its garbage (tests/helpers/leave_garbage.ts).
Deno.test("collectGarbage() makes JavaScript's heap small again", async () => {
  const memory = new URL("../../src/system/memory.ts", import.meta.url).href;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-check",
      `import { collectGarbage } from "${memory}";
      const objects = () => Array.from({ length: 500_000 }, (_, i) => ({ i })).length;
      objects();
      const before = Deno.memoryUsage().heapTotal;
      collectGarbage();
      console.log(before - Deno.memoryUsage().heapTotal);`,
    ],
    stdout: "piped",
  }).output();
  const freed = Number(new TextDecoder().decode(stdout));
  assert(freed > 4 * MIB, `${freed} bytes became free`);
});

Deno.test("freeBytes() is a plausible amount", () => {
  const free = freeBytes();
  assert(free !== undefined && free > MIB && free < 2 ** 50, `${free}`);
});

Deno.test("watchTree() sees a child's peak after the child is gone", async () => {
  using watch = watchTree(Deno.pid, 20);
  const start = treeMemory().rssBytes;
  const child = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "const b = new Uint8Array(128 * 2 ** 20).fill(1); await new Promise((r) => setTimeout(r, 300)); console.log(b[9]);",
    ],
    stdout: "piped",
  }).output();
  assertEquals(new TextDecoder().decode(child.stdout).trim(), "1");
  assert(watch.peakBytes - start > 100 * MIB, `${(watch.peakBytes - start) / MIB} MiB`);
});

Deno.test("watchTree() sees what a process had between two looks", async () => {
  using watch = watchTree(Deno.pid, 60_000);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `const b = new ArrayBuffer(2 ** 28, { maxByteLength: 2 ** 28 });
      new Uint8Array(b).fill(1);
      b.resize(0);
      console.log("freed");
      await new Promise((resolve) => setTimeout(resolve, 60_000));`,
    ],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  assertEquals(new TextDecoder().decode((await reader.read()).value).trim(), "freed");
  const now = treeMemory(child.pid).rssBytes;
  const seen = watch.peakBytes;
  child.kill();
  await reader.cancel();
  await child.status;
  assert(now < 200 * MIB && seen > 256 * MIB, `${now / MIB} MiB now, ${seen / MIB} seen`);
});
