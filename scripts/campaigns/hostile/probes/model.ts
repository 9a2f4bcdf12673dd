/** What the verbs do with a model, in their order: each goes on where the one before refused. */
import { BadInputError, GraftError } from "../../../../src/errors.ts";
import { elementCount, float32, int64, toNumbers } from "../../../../src/graph/tensor.ts";
import { formatGraph } from "../../../../src/graph/print.ts";
import type { Model } from "../../../../src/graph/types.ts";
import type { TokenBatch } from "../../../../src/data/targets.ts";
import { formatInspection } from "../../../../src/cli/models/inspect_report.ts";
import { evaluateModel } from "../../../../src/eval/evaluate.ts";
import {
  DEFAULT_LORA,
  findModules,
  initAdapter,
  inject,
  reachOf,
  resolveTargets,
} from "../../../../src/lora/mod.ts";
import type { Adapter } from "../../../../src/lora/adapter_files.ts";
import {
  adapterChanges,
  additionOf,
  computeMerge,
  planMerge,
} from "../../../../src/lora/merge/mod.ts";
import { usualTargets } from "../../../../src/lora/targets.ts";
import { inspectModel } from "../../../../src/model/inspect.ts";
import { loadOnnx } from "../../../../src/model/load_onnx.ts";
import { modelKind } from "../../../../src/model/model_kind.ts";
import { encodeModel } from "../../../../src/onnx/mod.ts";
import { Random } from "../../../../src/random.ts";
import { runMemory } from "../../../../src/runtime/memory_limit.ts";
import { createOrtRunner } from "../../../../src/runtime/ort_runner.ts";
import type { Runner } from "../../../../src/runtime/runner.ts";
import { CausalModel } from "../../../../src/serve/causal_model.ts";
import { withSentenceEmbedding } from "../../../../src/serve/embedding_graph.ts";
import { EncoderModel } from "../../../../src/serve/encoder_model.ts";
import { PlannedModel } from "../../../../src/train/planned_model.ts";
import { lazily, RUNNING } from "../format.ts";
import { scratchFolder } from "../scratch.ts";

const FIXTURE =
  new URL("../../../../tests/fixtures/models/tiny-llama-genai-int4", import.meta.url).pathname;

const [BATCH, LENGTH] = [2, 6];
const RANK = 2;

let opened: Runner | undefined;

/** The verbs bound what runs take by the model's size; none of the campaign's files has a megabyte. */
function runner(): Runner {
  const memoryBytes = runMemory(1e6);
  return opened ??= createOrtRunner({ threads: 1, logLevel: "fatal", memoryBytes });
}

/** Closes the runner of the probes, until the next one opens it again. */
export function closeProbes(): void {
  opened?.[Symbol.dispose]();
  opened = undefined;
}

/** A folder in memory, with the data file that one of the seeds reads. */
const folder = lazily(() => {
  const path = scratchFolder();
  Deno.copyFileSync(`${FIXTURE}/model.onnx.data`, `${path}/model.onnx.data`);
  return path;
});

/**
 * Loads a model file and puts it to every use.
 *
 * @throws {GraftError} the first refusal, after all uses were tried
 */
export async function probeModel(file: Uint8Array): Promise<void> {
  const path = `${folder()}/model.onnx`;
  Deno.writeFileSync(path, file);
  using loaded = loadOnnx(path);
  await useModel(loaded.model, file.byteLength);
}

/**
 * Every use of a model that was read. Training compiles most, and so only every fourth trains.
 *
 * What is planned to take more than a mutant may is not trained, as `train` refuses what does not fit
 * the machine.
 *
 * @returns the names of the uses
 * @throws {GraftError} the first refusal, after all uses were tried
 */
export async function useModel(model: Model, sizeBytes: number): Promise<readonly string[]> {
  let refusal: GraftError | undefined;
  const uses: string[] = [];
  const use = async (name: string, way: () => void | Promise<void>) => {
    try {
      await way();
      uses.push(name);
    } catch (error) {
      if (!(error instanceof GraftError)) throw error;
      refusal ??= error;
    }
  };
  let isSmall = true;
  await use("write", () => write(model));
  await use("inspect", () => inspect(model, sizeBytes, (small) => isSmall = small));
  await use("merge", () => merge(model));
  await use("run", () => runModel(model));
  if (isSmall && sizeBytes % 4 === 0) await use("train", () => train(model));
  if (refusal !== undefined) throw refusal;
  return uses;
}

/** {@linkcode useModel} by itself, without a runner that stays open. */
export async function useModelAlone(model: Model, sizeBytes: number): Promise<readonly string[]> {
  try {
    return await useModel(model, sizeBytes);
  } finally {
    closeProbes();
  }
}

function write(model: Model): void {
  encodeModel(model);
  formatGraph(model.graph);
}

function inspect(model: Model, sizeBytes: number, tell: (isSmall: boolean) => void): void {
  const found = inspectModel(model, {
    sizeBytes,
    rank: RANK,
    batch: BATCH,
    length: LENGTH,
    keepBytes: 1 << 20,
    shards: 1,
  });
  formatInspection("model.onnx", found);
  const { training } = found;
  if ("problem" in training) {
    tell(!training.problem.includes("no memory holds"));
    throw new BadInputError(training.problem);
  }
  tell(training.peakBytes < RUNNING.growthBytes / 2);
}

/** Tokens that every vocabulary has. */
function batch(objective: "causal" | "classification"): TokenBatch {
  const ids = Array.from({ length: BATCH * LENGTH }, (_, i) => 1 + i % 5);
  return {
    inputIds: int64([BATCH, LENGTH], ids),
    attentionMask: int64([BATCH, LENGTH], ids.map(() => 1)),
    ...(objective === "causal"
      ? { labels: ids }
      : { classIds: Array.from({ length: BATCH }, (_, i) => i % 2) }),
    tokenCount: ids.length,
  };
}

/** A new adapter on the usual layers. */
function newAdapter(model: Model) {
  const modules = findModules(model);
  const config = { ...DEFAULT_LORA, rank: RANK, targetModules: usualTargets(modules) };
  const sites = resolveTargets(modules, config, reachOf(model));
  return { sites, weights: initAdapter(sites, config.init, Random.fromSeed(1)) };
}

async function merge(model: Model): Promise<void> {
  const { sites, weights } = newAdapter(model);
  const ones = new Map(
    [...weights].map((
      [path, { a, b }],
    ) => [path, { a, b: float32(b.dims, new Float32Array(elementCount(b.dims)).fill(0.01)) }]),
  );
  const changes = sites.map(({ module: { path }, rank, scale }) => {
    const { a, b } = ones.get(path)!;
    return { path, updates: [{ rank, scale, loraA: toNumbers(a), loraB: toNumbers(b) }] };
  });
  await computeMerge(planMerge(model, changes, "nearest"), () => {});
}

async function train(model: Model): Promise<void> {
  const { sites, weights } = newAdapter(model);
  const adapted = inject(model, sites, weights, { dropout: true });
  const objective = modelKind(model.graph) === "causal" ? "causal" : "classification";
  using step = new PlannedModel({
    runner: runner(),
    model: adapted.model,
    trainable: new Set(adapted.trainable.keys()),
    objective,
  });
  step.zeroGrad();
  await step.accumulate(batch(objective), 1);
}

/** Merges an adapter as `--method nearest` does. */
export async function mergeModel(model: Model, adapter: Adapter): Promise<void> {
  const all = adapterChanges(model, [{ label: "adapter", adapter, weight: 1 }]);
  const finish = additionOf(all);
  await computeMerge(planMerge(model, all.changes, "nearest", { finish }), () => {});
}

/** Runs a model as `run` and `eval` do. */
export async function runModel(model: Model): Promise<void> {
  const kind = modelKind(model.graph);
  if (kind === "causal") await runCausal(runner(), model);
  else await runEncoder(runner(), model, kind === "classifier");
}

async function runCausal(runner: Runner, model: Model): Promise<void> {
  using generator = await CausalModel.open(runner, model, "model.onnx");
  await generator.advance([1, 2, 3]);
  await generator.advance([4]);
  await evaluateModel(runner, model, [batch("causal")], { objective: "causal" });
}

async function runEncoder(runner: Runner, model: Model, classifies: boolean): Promise<void> {
  const { graph } = classifies ? model : withSentenceEmbedding(model);
  using executable = await runner.compile({ ...model, graph }, { label: "model.onnx" });
  using encoder = new EncoderModel(runner, executable, graph);
  const texts = batch("classification");
  await (classifies ? encoder.classify(texts) : encoder.embed(texts));
}
