import { assertAlmostEquals, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { type FineTuneEvent, Trainer } from "../../src/finetune/mod.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { saveAdapter } from "../../src/model/adapter_dir.ts";
import { bottleneckAdapter } from "../helpers/bottlenecks.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { askPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs } from "../helpers/training_runs.ts";

const STEPS = 5;
const LEARNING_RATE = 5e-3;

const KINDS = [["houlsby", "swish"], ["pfeiffer", "relu"]] as const;

/** Trains bottleneck adapters in a folder; returns the loss of each step, and the same work for torch. */
async function train(folder: string, [placement, nonLinearity]: typeof KINDS[number]) {
  const base = readModel(modelDir("tiny-llama-torch-fp32"));
  const start = join(folder, placement);
  const bottleneck = { placement, nonLinearity, reductionFactor: 4 };
  saveAdapter(start, bottleneckAdapter(base, bottleneck));
  const losses: number[] = [];
  const onEvent = (event: FineTuneEvent) => {
    if (event.kind === "report") losses.push(event.report.loss);
  };
  using trainer = await Trainer.open({
    model: modelDir("tiny-llama-torch-fp32"),
    data: folder,
    adapterPath: join(folder, `${placement}-adapter`),
    resumeAdapterFile: start,
    batchSize: 4,
    iters: STEPS,
    learningRate: LEARNING_RATE,
    lrSchedule: "constant",
    stepsPerReport: 1,
    threads: 1,
  }, { onEvent });
  const batch = await trainer.data.batch(0, 0);
  await trainer.run();
  const [rows, length] = batch.inputIds.dims;
  const inRows = (values: ArrayLike<number>) =>
    Array.from(
      { length: rows },
      (_, r) => Array.from({ length }, (_, t) => values[r * length + t]),
    );
  const request = {
    base: modelDir("tiny-llama-hf"),
    tensors: join(start, "adapter_model.safetensors"),
    non_linearity: nonLinearity,
    learning_rate: LEARNING_RATE,
    steps: STEPS,
    input_ids: inRows(toNumbers(batch.inputIds)),
    attention_mask: inRows(toNumbers(batch.attentionMask)),
    labels: inRows(batch.labels!),
  };
  return { losses, request };
}

testWithPython(
  ["torch", "transformers", "safetensors"],
  "fineTune() of houlsby and of pfeiffer adapters has the losses of torch, step by step",
  () =>
    inTempDir(async (folder) => {
      Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(4));
      const runs: Awaited<ReturnType<typeof train>>[] = [];
      for (const kind of KINDS) runs.push(await train(folder, kind));
      // Loading torch takes longer than the steps: one process for both.
      const requests = runs.map(({ request }) => request);
      const expected = await askPython<number[][]>("bottleneck_steps.py", requests);
      runs.forEach(({ losses }, i) => {
        assertEquals(losses.length, STEPS);
        losses.forEach((loss, step) =>
          assertAlmostEquals(loss, expected[i][step], 2e-4, `${losses} ${expected[i]}`)
        );
      });
    }),
);
