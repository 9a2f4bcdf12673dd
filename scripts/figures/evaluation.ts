/**
 * Prints how fast held-out data is evaluated: as `graft eval` does it, as training validates, and through
 * the inference graph, in turn; SmolLM2 on plain text and on e2e, MiniLM with a new head on banking77.
 * A JSON line each with tokens per second (the median of the rounds; whatever is compiled is part of it)
 * and the loss. CPU seconds tell more than the clock's on a machine that does other work.
 *
 * usage: deno run -A scripts/figures/evaluation.ts [--rows 64] [--rounds 3] [--shared ../shared]
 */
import { parseArgs } from "@std/cli/parse-args";
import { wholeConfig } from "../../src/config/given.ts";
import { DATA_PARAMETERS, type DataConfig } from "../../src/data/data_config.ts";
import { evaluateModel } from "../../src/eval/evaluate.ts";
import { addClassificationHead, initLinear, tokenStates } from "../../src/lora/mod.ts";
import { modelKind } from "../../src/model/model_kind.ts";
import { type OpenedModel, openModel } from "../../src/model/open_model.ts";
import { Random } from "../../src/random.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { median } from "../../src/statistics.ts";
import { loadEvaluationData } from "../../src/tasks/evaluation_data.ts";
import { evaluatorFor } from "../../src/tasks/evaluator.ts";
import { validate } from "../../src/train/validate.ts";
import { MicroBatches, TOKENS_AT_ONCE } from "../../src/train/micro_batches.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import { packingRules } from "../../src/train/planned_options.ts";
import { writeRows } from "./drawn_rows.ts";

const { rows, rounds, shared } = parseArgs(Deno.args, {
  string: ["rows", "rounds", "shared"],
  default: { rows: "64", rounds: "3", shared: "../shared" },
});
const folder = Deno.makeTempDirSync({ prefix: "graft-figures-" });
/** Rows of a batch, as `graft eval` has them unless told otherwise. */
const BATCH_SIZE = 8;

/** Seconds that this process has computed. */
function cpuSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100; // in ticks of 10 ms
}

/** A classifier with a head that is not trained: what it computes takes as long. */
function withHead(opened: OpenedModel): OpenedModel {
  const labels: string[] = JSON.parse(
    Deno.readTextFileSync(`${shared}/data/banking77/categories.json`),
  );
  const head = initLinear(labels.length, tokenStates(opened.model).hidden, Random.fromSeed(0));
  const { model } = addClassificationHead(opened.model, head, { pooling: "mean" });
  return { ...opened, model, kind: modelKind(model.graph), labels };
}

for (
  const [name, what] of [
    ["smollm2-135m-instruct-int4", "plain text"],
    ["smollm2-135m-instruct-int4", "e2e"],
    ["all-minilm-l6-v2-int8", "banking77"],
  ]
) {
  const path = writeRows(what, Number(rows), `${folder}/${what}`, shared, Random.fromSeed(1));
  using base = await openModel(`${shared}/models/${name}`);
  const opened = base.kind === "encoder" ? withHead(base) : base;
  const config = wholeConfig<DataConfig>(DATA_PARAMETERS, {});
  using data = await loadEvaluationData(opened, { ...config, data: path, batchSize: BATCH_SIZE });
  const count = data.batches.batches(0);
  const batches = await Promise.all(
    Array.from({ length: count }, (_, i) => data.batches.batch(0, i)),
  );
  const tokens = batches.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
  using runner = createOrtRunner({ spinning: false });
  const objective = data.task;
  const asEval = await evaluatorFor(runner, undefined, opened.model, objective);
  const ways = {
    eval: async () => (await asEval(opened.model, batches, { objective })).loss,
    validation: async () => {
      const options = { runner, model: opened.model, trainable: new Set<string>(), objective };
      using step = new PlannedModel(options);
      const atOnce = { tokens: TOKENS_AT_ONCE, packing: packingRules(options, {}) };
      return (await validate(new MicroBatches(step, atOnce), data.batches))!.loss;
    },
    "inference graph": async () =>
      (await evaluateModel(runner, opened.model, batches, { objective })).loss,
  };
  const taken = new Map<string, { loss: number; clock: number[]; cpu: number[] }>();
  for (let round = 0; round < Number(rounds); round++) {
    for (const [way, run] of Object.entries(ways)) {
      const [clock, cpu] = [performance.now(), cpuSeconds()];
      const loss = await run();
      const found = taken.get(way) ?? { loss, clock: [], cpu: [] };
      found.clock.push((performance.now() - clock) / 1000);
      found.cpu.push(cpuSeconds() - cpu);
      taken.set(way, found);
    }
  }
  for (const [way, { loss, clock, cpu }] of taken) {
    console.log(JSON.stringify({
      model: name,
      data: what,
      way,
      tokens,
      tokensPerSecond: tokens / median(clock),
      tokensPerCpuSecond: tokens / median(cpu),
      loss,
    }));
  }
}
Deno.removeSync(folder, { recursive: true });
