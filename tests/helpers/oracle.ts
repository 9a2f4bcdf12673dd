/**
 * Runs graft's training step beside the independent oracle (PyTorch + PEFT, fp32) of a fixture:
 * initial loss, every gradient, ten steps of AdamW.
 */
import { int64, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { DEFAULT_LORA } from "../../src/lora/config.ts";
import { inject } from "../../src/lora/inject.ts";
import type { LoraWeights } from "../../src/lora/lora_weights.ts";
import { makeTrainable } from "../../src/lora/modules_to_save.ts";
import { findModules } from "../../src/lora/modules.ts";
import { resolveTargets } from "../../src/lora/targets.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { decodeSafetensors } from "../../src/safetensors/mod.ts";
import { graphOptimizer } from "../../src/train/graph_optimizer.ts";
import { PlannedModel } from "../../src/train/planned_model.ts";
import type { TokenBatch } from "../../src/data/targets.ts";
import { withArithmetic } from "./arithmetic.ts";
import { modelDir, readModel, referenceDir } from "./fixture_models.ts";
import type { StepHow } from "./training_step.ts";

export interface Oracle {
  readonly loss_init: number;
  readonly losses_adamw: readonly number[];
  readonly adamw: {
    readonly lr: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weight_decay: number;
  };
  readonly rank: number;
  readonly alpha: number;
  readonly targets: readonly string[];
  readonly task: "CAUSAL_LM" | "SEQ_CLS";
  readonly trainable_parameters: number;
  readonly onnx_models: readonly string[];
}

/** Names of the oracles in the fixtures. */
export const ORACLES = [
  "tiny-llama-fp32.qv",
  "tiny-llama-fp32.all",
  "tiny-llama-int4.all",
  "tiny-bert-fp32.qv",
  "tiny-bert-int8.qv",
];

export function readOracle(name: string): Oracle {
  return JSON.parse(Deno.readTextFileSync(`${referenceDir(name)}/oracle.json`));
}

export function readTensors(path: string): ReadonlyMap<string, Tensor> {
  return decodeSafetensors(Deno.readFileSync(path), { file: path }).tensors;
}

/** Everything that was compared, the figures that the criteria are about. */
export interface OracleReport {
  readonly lossError: number;
  /** ‖g − ref‖₂ / ‖ref‖₂ by parameter. */
  readonly gradientErrors: ReadonlyMap<string, number>;
  readonly lossCurveError: number;
  readonly trainableParameters: number;
}

/** The fixture's model with the oracle's initial adapter injected. */
export function oracleModel(name: string, onnxModel: string) {
  const oracle = readOracle(name);
  const saved = readTensors(`${referenceDir(name)}/adapter_init/adapter_model.safetensors`);
  const base = readModel(modelDir(onnxModel));
  return injectPeft(base, oracle, saved);
}

function injectPeft(base: Model, oracle: Oracle, saved: ReadonlyMap<string, Tensor>) {
  const config = {
    ...DEFAULT_LORA,
    rank: oracle.rank,
    alpha: oracle.alpha,
    targetModules: oracle.targets,
    modulesToSave: oracle.task === "SEQ_CLS" ? ["classifier"] : [],
  };
  const sites = resolveTargets(findModules(base), config);
  const tensor = (path: string, which: string) => saved.get(`base_model.model.${path}.${which}`)!;
  const adapters = new Map<string, LoraWeights>(sites.map(({ module: { path } }) => [
    path,
    { a: tensor(path, "lora_A.weight"), b: tensor(path, "lora_B.weight") },
  ]));
  const injected = inject(base, sites, adapters);
  if (oracle.task === "CAUSAL_LM") {
    return { model: injected.model, trainable: new Set(injected.trainable.keys()), oracle };
  }
  const pooled = oracle.onnx_models.includes("tiny-bert-dynamic-int8")
    ? withCheckpointPooler(injected.model)
    : injected.model;
  const classifier = findModules(base).find(({ path }) => path === "classifier")!;
  const full = makeTrainable(pooled, classifier, {
    weight: tensor("classifier", "weight"),
    bias: tensor("classifier", "bias"),
  });
  return {
    model: full.model,
    trainable: new Set([...injected.trainable.keys(), ...full.trainable.keys()]),
    oracle,
  };
}

/**
 * The oracle's checkpoint of the int8 model kept the pooler's weight as it was before quantisation
 * (every other matrix in it is exactly the dequantised one). So that both compute with one set of
 * weights, the pooler is given the checkpoint's.
 */
function withCheckpointPooler(model: Model): Model {
  const checkpoint = readTensors(`${modelDir("tiny-bert-int8-dequantised-hf")}/model.safetensors`);
  const pooler = findModules(model).find(({ path }) => path === "bert.pooler.dense")!;
  return makeTrainable(model, pooler, {
    weight: checkpoint.get("bert.pooler.dense.weight")!,
    bias: checkpoint.get("bert.pooler.dense.bias")!,
  }).model;
}

export function oracleBatch(oracle: Oracle, tensors: ReadonlyMap<string, Tensor>): TokenBatch {
  const labels = toNumbers(tensors.get("labels")!);
  const mask = tensors.get("attention_mask")!;
  return {
    inputIds: tensors.get("input_ids")!,
    attentionMask: mask,
    tokenTypeIds: int64(mask.dims, new Uint8Array(mask.dims[0] * mask.dims[1])),
    ...(oracle.task === "CAUSAL_LM" ? { labels } : { classIds: labels }),
    tokenCount: Array.from(toNumbers(mask)).reduce((a, c) => a + c, 0),
  };
}

export async function runOracle(
  runner: Runner,
  name: string,
  onnxModel: string,
  how: Pick<StepHow, "keepBytes" | "headChunk" | "readyWeights" | "sliced" | "integerForm"> = {},
): Promise<OracleReport> {
  const { model, trainable, oracle } = oracleModel(name, onnxModel);
  const tensors = readTensors(`${referenceDir(name)}/tensors.safetensors`);
  const batch = oracleBatch(oracle, tensors);
  const objective = oracle.task === "CAUSAL_LM" ? "causal" as const : "classification" as const;
  using step = new PlannedModel(
    withArithmetic({ runner, model, trainable, objective, ...how }, runner),
  );
  const { lr, betas, eps, weight_decay: weightDecay } = oracle.adamw;
  using optimizer = await graphOptimizer(runner, step.parameters, {
    name: "adamw",
    beta1: betas[0],
    beta2: betas[1],
    eps,
    weightDecay,
  });
  const gradientErrors = new Map<string, number>();
  const losses: number[] = [];
  for (const _ of oracle.losses_adamw) {
    const { lossSum, targetCount } = await step.accumulate(batch, 0);
    losses.push(lossSum / targetCount);
    if (losses.length === 1) {
      for (const { name, grad } of step.parameters) {
        const expected = gradientOf(tensors, name);
        const found = toNumbers(grad!.read());
        gradientErrors.set(name, relativeError(found, toNumbers(expected), 1 / targetCount));
      }
    }
    await optimizer.update(lr, 1 / targetCount);
    step.zeroGrad();
  }
  return {
    lossError: Math.abs(losses[0] - oracle.loss_init),
    gradientErrors,
    lossCurveError: Math.max(
      ...losses.map((loss, i) => Math.abs(loss - oracle.losses_adamw[i])),
    ),
    trainableParameters: step.parameters.reduce(
      (sum, { dims }) => sum + dims.reduce((a, c) => a * c, 1),
      0,
    ),
  };
}

/** The oracle names a fully trained module as PEFT's wrapper does. */
function gradientOf(tensors: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const found = tensors.get(`grad.${name}`) ??
    tensors.get(`grad.${name.replace(/\.(weight|bias)$/, ".modules_to_save.$1")}`);
  if (found === undefined) throw new ReferenceError(`The oracle has no gradient of "${name}"`);
  return found;
}

function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>, scale: number) {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (found[i] * scale - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}
