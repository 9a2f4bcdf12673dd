import { assert, assertEquals } from "@std/assert";
import { elementCount, float32, int64, type Tensor } from "../../src/graph/tensor.ts";
import type { PlannedCall } from "../../src/plan/call.ts";
import { neighbourPlans } from "../../src/plan/open_plan.ts";
import type { PlanOptions } from "../../src/plan/options.ts";
import { planTraining } from "../../src/plan/plan.ts";
import { resizePlan, templateRows } from "../../src/plan/resize_plan.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { DeviceTensor, Runner } from "../../src/runtime/runner.ts";
import { CallSessions } from "../../src/train/call_sessions.ts";
import { Random } from "../../src/random.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { oracleModel } from "../helpers/oracle.ts";
import { adapted } from "../helpers/training_step.ts";

const { model, trainable } = oracleModel("tiny-llama-fp32.qv", "tiny-llama-genai-fp32");
const planOf = (batch: number, length: number, targetRows: number) =>
  planTraining(model, { batch, length, targetRows, trainable });

Deno.test("CallSessions compiles nothing for a second batch shape, and computes the same bits", async () => {
  using runner = createOrtRunner({ threads: 1 });
  using sessions = new CallSessions(runner);
  using alone = new CallSessions(runner);
  // As many entries as zeros are not written into graphs for.
  const [first, second] = [planOf(4, 24, 6), planOf(6, 32, 9)];
  // The head is another graph where its rows are few beside the tokens.
  const blocks = ({ training: { calls } }: typeof first) =>
    calls.filter(({ label }) => !label.startsWith("loss"));
  sessions.admit(first, neighbourPlans(model, first));
  for (const call of blocks(first)) await sessions.of(call);
  const compiled = sessions.count;
  sessions.admit(second, []);
  for (const call of blocks(second)) {
    const feeds = feedsOf(runner, call);
    const results = [];
    for (const { executable, constants } of [await sessions.of(call), await alone.of(call)]) {
      results.push(await executable.run({ ...feeds, ...constants }));
    }
    for (const name of Object.keys(results[1])) {
      assertEquals(results[0][name].read(), results[1][name].read(), `${name} of ${call.label}`);
    }
    for (const made of [feeds, ...results]) {
      for (const tensor of Object.values(made)) tensor[Symbol.dispose]();
    }
  }
  assertEquals(sessions.count, compiled);
});

function feedsOf(runner: Runner, { graph }: PlannedCall): Record<string, DeviceTensor> {
  const random = Random.fromSeed(7);
  return Object.fromEntries(graph.inputs.map(({ name, type }) => {
    const dims = type!.shape as readonly number[];
    const values = Array.from({ length: elementCount(dims) }, () => random.next() / 2 ** 32);
    const value: Tensor = type!.dtype === "int64"
      ? int64(dims, values.map((v) => Math.floor(v * 2)))
      : float32(dims, values);
    return [name, runner.upload(value)];
  }));
}

Deno.test("CallSessions serves what a template gives for other numbers of rows, with dropout", () => {
  using runner = createOrtRunner({ threads: 1 });
  using sessions = new CallSessions(runner);
  const dropout = 0.2;
  const { model, trainable } = adapted(readModel(modelDir("tiny-llama-genai-int4")), { dropout });
  const options: PlanOptions = {
    ...{ batch: 8, length: 40, trainable, passes: ["training"], dropout, keepBytes: 1e9 },
    ...{ packedRows: 200, targetRows: 160 },
  };
  const template = planTraining(model, { ...options, ...templateRows(options) });
  sessions.admit(template, neighbourPlans(model, template));
  for (const rows of [{ packedRows: 200, targetRows: 160 }, { packedRows: 216, targetRows: 104 }]) {
    assert(sessions.admit(resizePlan(template, rows)!, []), JSON.stringify(rows));
  }
});
