import { assert, assertEquals } from "@std/assert";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { float32 } from "../../src/graph/tensor.ts";
import { inferTraining } from "../../src/ops/registry.ts";
import { planTraining } from "../../src/plan/plan.ts";
import type { Schedule } from "../../src/plan/schedule.ts";

const WIDTH = 32;

/** The schedules of a residual network of eight half blocks over embedded tokens. */
function schedules(): readonly Schedule[] {
  const b = new GraphBuilder(inferTraining);
  b.input("input_ids", "int64", [2, 5]);
  const weight = (name: string, rows: number, columns: number) =>
    b.variable(name, float32([rows, columns], new Float32Array(rows * columns).fill(0.1)));
  let x = b.op("Gather", [weight("embedding", 11, WIDTH), "input_ids"]);
  const trainable = new Set<string>();
  for (let i = 0; i < 8; i++) {
    const hidden = b.op("Relu", [b.op("MatMul", [x, weight(`W${i}`, WIDTH, 3 * WIDTH)])]);
    x = b.op("Add", [x, b.op("MatMul", [hidden, weight(`V${i}`, 3 * WIDTH, WIDTH)])]);
    trainable.add(`V${i}`);
  }
  b.emit({
    ...{ opType: "MatMul", domain: "", attributes: {}, outputs: ["logits"] },
    inputs: [x, weight("head", WIDTH, 11)],
  });
  const graph = b.build("residual", ["logits"]);
  const model = { irVersion: 10, opsets: { "": 21 }, graph, metadata: {} };
  const plan = planTraining(model, {
    ...{ batch: 2, length: 5, targetRows: 4, trainable, keepBytes: 1e9 },
  });
  return [plan.training, plan.evaluation, plan.logits];
}

/** For each call, the placements of the tensors that are alive during it. */
function liveDuring({ calls, release, memory }: Schedule) {
  const live = new Set<string>();
  return calls.map(({ fetches }, i) => {
    for (const name of fetches.values()) if (memory.placements.has(name)) live.add(name);
    const now = [...live].map((name) => ({ name, ...memory.placements.get(name)! }));
    for (const name of release[i]) live.delete(name);
    return now;
  });
}

Deno.test("placeTensors() never lays two tensors that are alive together over each other", () => {
  for (const schedule of schedules()) {
    for (const placements of liveDuring(schedule)) {
      placements.sort((a, b) => a.offset - b.offset);
      placements.slice(1).forEach((place, i) => {
        const before = placements[i];
        assert(before.offset + before.bytes <= place.offset, `${before.name} and ${place.name}`);
        assertEquals(place.offset % 64, 0);
      });
    }
  }
});

Deno.test("placeTensors() takes little more than what is alive at the fullest moment", () => {
  for (const schedule of schedules()) {
    const fullest = Math.max(
      ...liveDuring(schedule).map((placements) =>
        placements.reduce((sum, { bytes }) => sum + bytes, 0)
      ),
    );
    const { bytes } = schedule.memory;
    assert(bytes >= fullest && bytes <= 1.2 * fullest, `${bytes} for ${fullest}`);
  }
});

Deno.test("placeTensors() has a place for all that is freed, and for nothing that stays", () => {
  for (const { calls, release, memory } of schedules()) {
    const made = new Set(calls.flatMap(({ fetches }) => [...fetches.values()]));
    const freed = release.flat().filter((name) => made.has(name));
    assertEquals(new Set(memory.placements.keys()), new Set(freed));
  }
});
