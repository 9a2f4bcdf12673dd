import { assert } from "@std/assert";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { batchKinds } from "../../src/train/batch_kinds.ts";
import { CallSessions } from "../../src/train/call_sessions.ts";
import { PlanFamilies } from "../../src/train/plan_families.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { adapted, batchOf, rowsOf, stepOn } from "../helpers/training_step.ts";

/** Lengths of the longest of three sequences, in one, two, three and four blocks of queries. */
const LENGTHS = [24, 96, 144, 216];
const NAME = "tiny-llama-genai-int4";

const batches = LENGTHS.map((length) =>
  batchOf(rowsOf([length, length - 7, length >> 1]), length, "causal")
);

/** Nodes of the sessions that a step compiles for some batches. */
async function nodesCompiled(run: () => Promise<void>): Promise<number> {
  const { compile } = CallSessions.prototype;
  let nodes = 0;
  CallSessions.prototype.compile = function (call, threads) {
    nodes += call.graph.nodes.length;
    return compile.call(this, call, threads);
  };
  try {
    await run();
  } finally {
    CallSessions.prototype.compile = compile;
  }
  return nodes;
}

for (const pass of ["training", "evaluation"] as const) {
  Deno.test(`batchKinds() tells of the sessions that batches of many lengths need, ${pass}`, async () => {
    using runner = createOrtRunner({ threads: 1 });
    using step = stepOn(runner, NAME, { keepBytes: 1e8 });
    const compiled = await nodesCompiled(async () => {
      for (const batch of batches) {
        if (pass === "training") await step.accumulate(batch, 0);
        else await step.evaluate(batch);
      }
    });
    const options = {
      ...{ runner, ...adapted(readModel(modelDir(NAME))) },
      ...{ objective: "causal" as const, keepBytes: 1e8 },
    };
    const plans = new PlanFamilies(options.model);
    const { sessionNodes, steps } = batchKinds(plans, options, batches, {}, pass);
    const one = batchKinds(plans, options, batches.slice(-1), {}, pass).sessionNodes;
    // Few batches are of fewer variants than are counted.
    assert(
      sessionNodes > 0.9 * compiled && sessionNodes < 1.6 * compiled,
      `${sessionNodes} of ${compiled}`,
    );
    assert(sessionNodes > 1.3 * one, `${sessionNodes} beside ${one} for one length`);
    assert(steps.length > 0);
  });
}
