import { assertEquals } from "@std/assert";
import { killAtRandom } from "../helpers/kills.ts";

// PROMISES 1 and 2 at a tenth of their counts; scripts/campaigns/kill.ts runs all of them.

Deno.test("train() killed at random moments loses no checkpoint and ends with the same bytes", async () => {
  const result = await killAtRandom({
    backend: "host",
    steps: 100,
    saveEvery: 4,
    runs: 2,
    kills: 20,
    killsPerRun: 5,
  });
  assertEquals(result.faults, []);
  assertEquals(result.equal, result.runs);
});

Deno.test("train() over ONNX Runtime, killed and resumed, ends with the same bytes", async () => {
  const result = await killAtRandom({
    backend: "ort",
    steps: 100,
    saveEvery: 4,
    runs: 2,
    kills: 2,
    killsPerRun: 3,
  });
  assertEquals(result.faults, []);
  assertEquals(result.equal, result.runs);
});
