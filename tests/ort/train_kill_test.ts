import { assert, assertEquals } from "@std/assert";
import { killAtRandom } from "../helpers/kills.ts";

// PROMISES 1 and 2 at a tenth of their counts; scripts/campaigns/kill.ts runs all of them.

Deno.test("train() killed at random moments loses no checkpoint and ends with the same bytes", async () => {
  const result = await killAtRandom({
    backend: "host",
    steps: 100,
    saveEvery: 4,
    runs: 5,
    killsPerRun: 4,
  });
  assertEquals(result.faults, []);
  assert(result.kills >= 10, `only ${result.kills} kills came before the end of the run`);
});

Deno.test("train() over ONNX Runtime, killed and resumed, ends with the same bytes", async () => {
  const result = await killAtRandom({
    backend: "ort",
    steps: 100,
    saveEvery: 4,
    runs: 2,
    killsPerRun: 3,
  });
  assertEquals(result.faults, []);
  assertEquals(result.equal, 2);
});
