import { assert, assertEquals } from "@std/assert";
import { tensor } from "../../src/graph/tensor.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import type { Schedule } from "../../src/plan/schedule.ts";
import type { DeviceTensor } from "../../src/runtime/runner.ts";
import { openMapped } from "../../src/system/mapped_file.ts";
import { processMemory } from "../../src/system/memory.ts";
import { runSchedule, type ScheduleMeans } from "../../src/train/run_schedule.ts";

const SIZE = 16 * 2 ** 20;

Deno.test("runSchedule() takes passing weights out of memory after each call that reads them", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, new Uint8Array(2 * SIZE).fill(7));
  using file = openMapped(path);
  const weights = ["first", "second"].map((name, i) =>
    [name, tensor("uint8", [SIZE], file.bytes.subarray(i * SIZE, (i + 1) * SIZE))] as const
  );
  const passing = new Map(weights);
  const start = processMemory().fileBytes;
  const seen: number[] = [];
  const executable = {
    outputNames: [],
    run: ({ w }: Record<string, DeviceTensor>) => {
      const { bytes } = w.read();
      assertEquals(bytes.every((byte) => byte === 7), true);
      seen.push(processMemory().fileBytes - start);
      return Promise.resolve({});
    },
  };
  const calls = weights.map(([name]) => ({
    feeds: new Map([["w", name]]),
    fetches: new Map(),
  }));
  const schedule = { calls, release: calls.map(() => []) } as unknown as Schedule;
  const means = {
    runner: { inPlace: false },
    plans: { session: (_: PlannedCall) => Promise.resolve(executable) },
  } as unknown as ScheduleMeans;
  const env = new Map(weights.map(([name, value]) => [
    name,
    { read: () => value } as unknown as DeviceTensor,
  ]));
  await runSchedule(schedule, env, means, { passing });
  assertEquals(seen.length, 2);
  assert(seen.every((bytes) => bytes > SIZE / 2 && bytes < 1.5 * SIZE), `${seen}`);
  assert(processMemory().fileBytes - start < SIZE / 2);
  await Deno.remove(path);
});
