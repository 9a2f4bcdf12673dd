import { assert } from "@std/assert";
import { jsonOfChild } from "../helpers/child_json.ts";
import { USERS_FLAGS } from "../helpers/measured_training.ts";
import { sampled } from "../helpers/sampled.ts";
import { PART_STEPS, type PartMemory } from "../helpers/steps_child.ts";

/** Parts of a run: the first plans, compiles and fills the arena. */
const PARTS = 5;

/**
 * Memory after each part of a run. The process is one of its own, with the young heap that users have: with
 * that of other tests the engine keeps more and more freed pages for a while.
 */
function memoryOfParts(shards: number): Promise<PartMemory[]> {
  return jsonOfChild("steps_child.ts", [String(shards), String(PARTS)], USERS_FLAGS);
}

for (const shards of sampled([2, 1])) {
  Deno.test(`steps of many shapes leave nothing that grows, ${shards} beside each other`, async () => {
    const memory = await memoryOfParts(shards);
    // What leaks grows in each part, the allocator's reserve only in one or two.
    const grown = (key: keyof PartMemory) =>
      Math.min(...memory.slice(2).map((now, i) => (now[key] - memory[i + 1][key]) / 2 ** 20));
    const where = `in each ${PART_STEPS} steps`;
    assert(grown("heapUsed") < 1, `JavaScript's heap grew by ${grown("heapUsed")} MB ${where}`);
    assert(grown("ownBytes") < 2, `the process grew by ${grown("ownBytes")} MB ${where}`);
  });
}
