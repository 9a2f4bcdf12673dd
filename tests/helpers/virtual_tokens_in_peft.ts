/** Trains virtual tokens twice, with graft and with PEFT, from one start on the same texts, and compares. */
import { join } from "@std/path";
import { type FineTuneEvent, Trainer } from "../../src/finetune/mod.ts";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { applyAdapter } from "../../src/lora/apply.ts";
import type { VirtualMethod } from "../../src/lora/virtual_tokens/config.ts";
import { loadAdapter, saveAdapter } from "../../src/model/adapter_dir.ts";
import { createOrtRunner } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { merge } from "../../src/tasks/merge.ts";
import { modelDir, readModel } from "./fixture_models.ts";
import { difference, runOutput } from "./logits.ts";
import { askPython } from "./run_python.ts";
import { pairs } from "./training_runs.ts";
import { tinyTokens, virtualAdapter } from "./virtual_tokens.ts";

const STEPS = 5;
const LEARNING_RATE = 2e-2;
const TOKENS = 3;

/** A model of the fixtures and what is trained. */
export interface VirtualTokensCase {
  readonly model: string;
  readonly method: VirtualMethod;
  /** Whether its graph can put virtual tokens before a text by itself. */
  readonly merges?: boolean;
}

/** One of each kind of graph. */
export const VIRTUAL_TOKENS_CASES: readonly VirtualTokensCase[] = [
  { model: "tiny-llama-genai-fp32", method: "prompt_tuning" },
  { model: "tiny-llama-genai-fp32", method: "prefix_tuning" },
  { model: "tiny-llama-torch-fp32", method: "prefix_tuning", merges: true },
];

/** Largest differences between graft and PEFT. */
export interface VirtualTokensParity extends VirtualTokensCase {
  /** graft's losses, before each step. */
  readonly losses: readonly number[];
  readonly lossDifference: number;
  /** Of the trained values. */
  readonly valueDifference: number;
  /** Of the logits of graft's adapter, in PEFT and in graft. */
  readonly logitDifference: number;
  /** Of the logits of graft's adapter in PEFT, and merged in Python's onnxruntime. */
  readonly mergedDifference?: number;
}

interface PeftResult {
  readonly logits: readonly number[];
  readonly merged_difference: number | null;
  readonly losses: readonly number[];
  readonly trained: readonly (readonly number[])[];
}

/** @param folder receives adapters and data */
export async function compareVirtualTokens(
  cases: readonly VirtualTokensCase[],
  folder: string,
): Promise<VirtualTokensParity[]> {
  using runner = createOrtRunner({ threads: 1 });
  Deno.writeTextFileSync(join(folder, "train.jsonl"), pairs(4));
  const own: Awaited<ReturnType<typeof trainHere>>[] = [];
  for (const [i, one] of cases.entries()) {
    own.push(await trainHere(runner, one, join(folder, String(i)), folder));
  }
  const there = await askPython<PeftResult[]>(
    "peft_virtual_tokens.py",
    own.map(({ request }) => request),
  );
  return cases.map((one, i) => {
    const [here, peft] = [own[i], there[i]];
    const ofTokens = (logits: ArrayLike<number>) => {
      const isToken = here.request.attention_mask.flat();
      const vocabulary = logits.length / isToken.length;
      return Array.from(logits, (value, at) => isToken[Math.floor(at / vocabulary)] * value);
    };
    return {
      ...one,
      losses: here.losses,
      lossDifference: difference(here.losses, peft.losses).absolute,
      valueDifference: difference(here.trained, peft.trained.flat()).absolute,
      mergedDifference: peft.merged_difference ?? undefined,
      logitDifference: difference(ofTokens(here.logits), ofTokens(peft.logits)).absolute,
    };
  });
}

async function trainHere(
  runner: Runner,
  { model: name, method, merges = false }: VirtualTokensCase,
  folder: string,
  data: string,
) {
  const model = modelDir(name);
  const base = readModel(model);
  const start = join(folder, "start");
  Deno.mkdirSync(folder);
  saveAdapter(start, virtualAdapter(base, tinyTokens(method, TOKENS)));
  const savePath = join(folder, "merged");
  if (merges) await merge({ model, adapterPath: [start], savePath, threads: 1 });
  const losses: number[] = [];
  const onEvent = (event: FineTuneEvent) => {
    if (event.kind === "report") losses.push(event.report.loss);
  };
  const adapterPath = join(folder, "adapter");
  using trainer = await Trainer.open({
    ...{ model, data, adapterPath, resumeAdapterFile: start, batchSize: 4, iters: STEPS },
    ...{ learningRate: LEARNING_RATE, lrSchedule: "constant", stepsPerReport: 1, threads: 1 },
  }, { onEvent });
  const batch = await trainer.data.batch(0, 0);
  await trainer.run();
  const [rows, length] = batch.inputIds.dims;
  /** The entries of each row after its virtual tokens. */
  const ownOf = (values: ArrayLike<number>, each = 1) =>
    Array.from(
      { length: rows },
      (_, r) => Array.from(values).slice((r * length + TOKENS) * each, (r + 1) * length * each),
    );
  const [ids, mask] = [batch.inputIds, batch.attentionMask].map(toNumbers);
  const feeds = new Map([
    ["input_ids", int64([rows, length], ids)],
    ["attention_mask", int64([rows, length], mask)],
  ]);
  const { adapter } = loadAdapter(start);
  const logits = await runOutput(runner, applyAdapter(base, adapter).model, feeds);
  return {
    losses,
    logits: ownOf(logits, logits.length / (rows * length)).flat(),
    trained: Array.from(toNumbers(loadAdapter(adapterPath).adapter.promptEmbeddings!)),
    request: {
      ...{ base: modelDir("tiny-llama-hf"), adapter: start },
      ...{ learning_rate: LEARNING_RATE, steps: STEPS },
      input_ids: ownOf(ids),
      attention_mask: ownOf(mask),
      labels: ownOf(batch.labels!),
      ...(merges ? { merged: join(savePath, "model.onnx") } : {}),
    },
  };
}
