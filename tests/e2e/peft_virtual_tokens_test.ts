import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { type FineTuneEvent, Trainer } from "../../src/finetune/mod.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import { modelDir, readModel } from "../helpers/fixture_models.ts";
import { difference, runOutput } from "../helpers/logits.ts";
import { testWithPython } from "../helpers/requirements.ts";
import { askPython } from "../helpers/run_python.ts";
import { inTempDir } from "../helpers/temp_dir.ts";
import { pairs } from "../helpers/training_runs.ts";
import { tinyTokens, virtualAdapter } from "../helpers/virtual_tokens.ts";

const STEPS = 5;
const LEARNING_RATE = 2e-2;
const TOKENS = 3;

const CASES = [
  ["tiny-llama-genai-fp32", "prompt_tuning"],
  ["tiny-llama-genai-fp32", "prefix_tuning"],
  ["tiny-llama-torch-fp32", "prefix_tuning"],
] as const;

interface Peft {
  readonly logits: readonly number[];
  readonly losses: readonly number[];
  readonly trained: readonly (readonly number[])[];
}

testWithPython(
  ["torch", "peft", "transformers"],
  "fineTune() of virtual tokens saves what PEFT loads: its logits, its losses step by step, its values",
  () =>
    inTempDir(async (folder) => {
      using runner = createOrtRunner({ threads: 1 });
      Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(4));
      const requests: unknown[] = [];
      const found: { logits: Float32Array; losses: number[]; trained: number[] }[] = [];
      for (const [i, [name, method]] of CASES.entries()) {
        const model = modelDir(name);
        const base = readModel(model);
        const start = join(folder, `start-${i}`);
        saveAdapter(start, virtualAdapter(base, tinyTokens(method, TOKENS), { seed: i + 1 }));
        const losses: number[] = [];
        const onEvent = (event: FineTuneEvent) => {
          if (event.kind === "report") losses.push(event.report.loss);
        };
        const adapterPath = join(folder, `adapter-${i}`);
        using trainer = await Trainer.open({
          ...{ model, data: folder, adapterPath, resumeAdapterFile: start, batchSize: 4 },
          ...{ iters: STEPS, learningRate: LEARNING_RATE, lrSchedule: "constant" },
          ...{ stepsPerReport: 1, threads: 1 },
        }, { onEvent });
        const batch = await trainer.data.batch(0, 0);
        await trainer.run();
        const [rows, length] = batch.inputIds.dims;
        const ownRows = (values: ArrayLike<number>) =>
          Array.from({ length: rows }, (_, r) =>
            Array.from({ length: length - TOKENS }, (_, t) =>
              values[r * length + TOKENS + t]));
        assertEquals(
          Array.from(toNumbers(batch.inputIds)).slice(0, TOKENS),
          [512, 513, 514],
        );
        requests.push({
          base: modelDir("tiny-llama-hf"),
          ...{ adapter: start, learning_rate: LEARNING_RATE, steps: STEPS },
          input_ids: ownRows(toNumbers(batch.inputIds)),
          attention_mask: ownRows(toNumbers(batch.attentionMask)),
          labels: ownRows(batch.labels!),
        });
        const { adapter } = loadAdapter(start);
        const feeds = new Map([
          ["input_ids", int64(batch.inputIds.dims, toNumbers(batch.inputIds))],
          ["attention_mask", int64(batch.attentionMask.dims, toNumbers(batch.attentionMask))],
        ]);
        const logits = await runOutput(runner, applyAdapter(base, adapter).model, feeds);
        const vocabulary = logits.length / (rows * length);
        const own = Array.from({ length: rows }, (_, r) =>
          Array.from(
            logits.subarray((r * length + TOKENS) * vocabulary, (r + 1) * length * vocabulary),
          ));
        found.push({
          logits: Float32Array.from(own.flat()),
          losses,
          trained: Array.from(toNumbers(loadAdapter(adapterPath).adapter.promptEmbeddings!)),
        });
      }
      const expected = await askPython<Peft[]>("peft_virtual_tokens.py", requests);
      for (const [i, { logits, losses, trained }] of found.entries()) {
        const peft = expected[i];
        const title = CASES[i].join(" ");
        const real = logits.map((value, at) =>
          maskOf(requests[i], at, logits.length) ? value : 0
        );
        const theirs = peft.logits.map((value, at) =>
          maskOf(requests[i], at, logits.length) ? value : 0
        );
        const { absolute } = difference(real, theirs);
        assert(absolute <= 1e-4, `${title}: logits differ by ${absolute}`);
        losses.forEach((loss, step) =>
          assertAlmostEquals(loss, peft.losses[step], 3e-4, `${title}: ${losses} ${peft.losses}`)
        );
        assertEquals(peft.trained.length, 1);
        const moved = difference(trained, peft.trained[0]).absolute;
        assert(moved <= 2e-3, `${title}: values differ by ${moved}`);
      }
    }),
);

/** Whether a logit is of a token and not of padding. */
function maskOf(request: unknown, at: number, count: number): boolean {
  const { attention_mask } = request as { attention_mask: number[][] };
  const flat = attention_mask.flat();
  return flat[Math.floor(at / (count / flat.length))] === 1;
}
