import { assert, assertEquals } from "@std/assert";
import { elementCount, float32, int64, type Tensor } from "../../src/graph/tensor.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import { graphAt } from "../../src/plan/call_graph.ts";
import type { TrainingPlan } from "../../src/plan/plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { DeviceTensor, Runner } from "../../src/runtime/runner.ts";
import { CallSessions } from "../../src/train/call_sessions.ts";
import { PlanFamilies } from "../../src/train/plan_families.ts";
import { Random } from "../../src/random.ts";
import { jsonOfChild } from "../helpers/child_json.ts";
import { oracleModel } from "../helpers/oracle.ts";
import { type WaitingMemory, WIDE_BYTES } from "../helpers/waiting_memory_child.ts";

const { model, trainable } = oracleModel("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");

Deno.test("CallSessions compiles nothing for a second batch shape, and computes the same bits", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using sessions = new CallSessions(runner);
  const families = new PlanFamilies(model);
  const [first, second] = [[4, 24, 6], [6, 32, 9]].map(([batch, length, targetRows]) =>
    families.planOf({ batch, length, targetRows, trainable })
  );
  assertEquals(families.count, 1);
  for (const call of first.training.calls) await sessions.of(call);
  const compiled = sessions.count;
  for (const call of second.training.calls) {
    const whole = graphAt(call, second.training.sizes);
    using alone = await sessions.compile({ label: call.label, graph: whole });
    using feeds = feedsOf(runner, second, call);
    const results = [
      await (await sessions.of(call)).run(feeds.all),
      await alone.run(feeds.withoutSizes),
    ];
    for (const name of Object.keys(results[1])) {
      assertEquals(results[0][name].read(), results[1][name].read(), `${name} of ${call.label}`);
    }
    for (const tensor of results.flatMap((made) => Object.values(made))) {
      tensor[Symbol.dispose]();
    }
  }
  assertEquals(sessions.count, compiled);
});

Deno.test("CallSessions frees the memory of a value that nothing reads any more, whatever comes later", async () => {
  // The arena is the process's own: what it has grown to stays.
  const { predicted, grown } = await jsonOfChild<WaitingMemory>("waiting_memory_child.ts");
  // One wide value at a time, and a few as wide as the input.
  assert(grown < 1.5 * WIDE_BYTES, `grown by ${grown}`);
  assert(predicted > WIDE_BYTES && predicted < grown, `predicted ${predicted}, grown by ${grown}`);
});

/** What a call is fed: what follows from sizes, and random numbers; and the same without the former. */
function feedsOf(runner: Runner, { training, constants }: TrainingPlan, call: PlannedCall) {
  const random = Random.fromSeed(7);
  const values = new Map<string, Tensor>();
  for (const { name, type } of graphAt(call, training.sizes).inputs) {
    const dims = type!.shape as readonly number[];
    const numbers = Array.from({ length: elementCount(dims) }, () => random.next() / 2 ** 32);
    const isInt = type!.dtype === "int64";
    values.set(
      name,
      isInt ? int64(dims, numbers.map((n) => Math.floor(n * 2))) : float32(dims, numbers),
    );
  }
  const uploaded = (of: Iterable<readonly [string, Tensor]>): Record<string, DeviceTensor> =>
    Object.fromEntries(Array.from(of, ([name, value]) => [name, runner.upload(value)]));
  const withoutSizes = uploaded(values);
  const sized = uploaded(
    Array.from(call.sized.keys(), (name) => [name, constants.get(call.feeds.get(name)!)!] as const),
  );
  const all = { ...withoutSizes, ...sized };
  return {
    all,
    withoutSizes,
    [Symbol.dispose]: () => Object.values(all).forEach((tensor) => tensor[Symbol.dispose]()),
  };
}
