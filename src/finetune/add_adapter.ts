/** Adds a new adapter to the user's graph. */
import { type LabelMap, randomFor } from "../data/mod.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { configBesideInitial } from "../lora/initial_product.ts";
import {
  addClassificationHead,
  initLinear,
  initVirtualTokens,
  inject,
  type LoraWeights,
  makeTrainable,
  targetNames,
  tokenStates,
  type Trainable,
} from "../lora/mod.ts";
import {
  type BottleneckConfig,
  PLACEMENTS,
  USUAL_NON_LINEARITY,
} from "../lora/bottleneck/config.ts";
import { injectBottlenecks } from "../lora/bottleneck/inject.ts";
import { initBottlenecks } from "../lora/bottleneck/weights.ts";
import type { PeftConfig, TaskType } from "../lora/peft_config.ts";
import { isLowRank } from "../lora/peft_type.ts";
import { withMagnitudes } from "../lora/dora.ts";
import { indexGraph } from "../lora/graph_index.ts";
import { injectScales } from "../lora/scale_adapter.ts";
import { suffixOf } from "../lora/names.ts";
import type { LoraSite } from "../lora/targets.ts";
import type { ModuleVector } from "../lora/vectors/find.ts";
import { VECTOR_METHODS } from "../lora/vectors/methods.ts";
import { ownVectors, trainVectors } from "../lora/vectors/train.ts";
import { type AdaptedModel, trainedOf } from "./adapted_model.ts";
import { injectVirtualTokens } from "../lora/virtual_tokens/inject.ts";
import { type AdapterTargets, targetsOf } from "./adapter_targets.ts";
import type { FineTuneAdapter, FineTuneConfig } from "./config.ts";
import { hasLogits } from "./model_outputs.ts";
import { startAdapter } from "./start_adapter.ts";

/** The parameters that decide a new adapter. */
export type AdapterChoice = FineTuneAdapter & Pick<FineTuneConfig, "model" | "seed">;

/**
 * Adds a new adapter, fully trained modules and, for classification without an output `logits`, a head.
 *
 * @param labels class names, if whole texts are classified
 * @throws {UsageError} if a module cannot be trained in full or no head can be added
 */
export function addAdapter(
  base: Model,
  config: AdapterChoice,
  labels: LabelMap | undefined,
  targets: AdapterTargets = targetsOf(base, config),
): AdaptedModel {
  const own = ownVectors(base, targets.vectors);
  const { model } = own;
  // The modules of a changed graph have other nodes.
  const { modules, sites, saved, followed, virtual } = model === base
    ? targets
    : targetsOf(model, config);
  const { injected, initials, atBase } = injectNew(model, config, sites);
  const trainable = new Map(injected.trainable);
  let now = injected.model;
  const apply = (edited: { readonly model: Model; readonly trainable: Trainables }) => {
    now = edited.model;
    for (const [name, what] of edited.trainable) trainable.set(name, what);
  };
  for (const module of saved) apply(makeTrainable(now, module));
  const bottleneck = bottleneckOf(config);
  if (bottleneck !== undefined) {
    const weights = initBottlenecks(followed, bottleneck, randomFor(config.seed, "bottleneck"));
    apply(injectBottlenecks(now, followed, weights, bottleneck));
  }
  if (virtual !== undefined) {
    const start = initVirtualTokens(virtual.config, randomFor(config.seed, "virtual tokens"));
    apply(injectVirtualTokens(now, virtual.config, start, virtual.layers));
  }
  if (own.vectors.length > 0) apply(trainVectors({ ...own, model: now }));
  const newHead = labels !== undefined && !hasLogits(model);
  if (newHead) {
    const { hidden } = tokenStates(now);
    const head = initLinear(labels.length, hidden, randomFor(config.seed, "head"));
    apply(addClassificationHead(now, head, { pooling: config.pooling }));
  }
  const adapted = targetNames(sites.map(({ module }) => module.path), modules);
  const vectorMethod = VECTOR_METHODS.find((method) => config.adapterType.includes(method));
  const named = sites.length > 0 ? adapted : vectorModules(own.vectors);
  const peftConfig = peftConfigOf(config, named, labels, newHead);
  return {
    model: now,
    ...{ trainable, initials, newHead, atBase: atBase && virtual === undefined },
    trained: trainedOf(trainable, config),
    config: {
      ...(initials === undefined ? peftConfig : configBesideInitial(peftConfig)),
      ...(bottleneck && { bottleneck }),
      ...(virtual && { virtualTokens: virtual.config }),
      ...(vectorMethod && { vectorMethod }),
      ...(config.bias === "none" ? {} : { bias: config.bias }),
    },
  };
}

/** Names by which PEFT selects the modules of vectors. */
const vectorModules = (vectors: readonly ModuleVector[]) => [
  ...new Set(vectors.map(({ path }) => suffixOf(path))),
];

function bottleneckOf(config: AdapterChoice): BottleneckConfig | undefined {
  const placement = PLACEMENTS.find((placement) => config.adapterType.includes(placement));
  if (placement === undefined) return undefined;
  const { reductionFactor, nonLinearity: chosen } = config;
  const nonLinearity = chosen === "auto" ? USUAL_NON_LINEARITY[placement] : chosen;
  return { placement, reductionFactor, nonLinearity };
}

type Trainables = ReadonlyMap<string, Trainable>;

function injectNew(model: Model, config: AdapterChoice, sites: readonly LoraSite[]) {
  const { weights, subtracted, atBase } = startAdapter(model, sites, config);
  const whole = config.useDora
    ? withMagnitudes(indexGraph(model.graph), sites, weights, { subtracted })
    : weights;
  const add = config.adapterType.includes("scales") ? injectScales : inject;
  // Training may overwrite the bytes of A and B.
  const initials = subtracted ? copyOf(weights) : undefined;
  return { injected: add(model, sites, whole, { dropout: true, initials }), initials, atBase };
}

function copyOf(weights: ReadonlyMap<string, LoraWeights>): ReadonlyMap<string, LoraWeights> {
  const copy = (value: Tensor): Tensor => ({ ...value, bytes: value.bytes.slice() });
  return new Map([...weights].map(([path, { a, b }]) => [path, { a: copy(a), b: copy(b) }]));
}

function peftConfigOf(
  config: AdapterChoice,
  targetModules: readonly string[],
  labels: LabelMap | undefined,
  newHead: boolean,
): PeftConfig {
  return {
    adapterType: config.adapterType.includes("scales") ? "scales" : "lora",
    rank: config.adapterType.some(isLowRank) ? config.rank : 0,
    alpha: config.loraAlpha,
    dropout: config.loraDropout,
    rankPattern: config.rankPattern,
    alphaPattern: config.alphaPattern,
    useRslora: config.useRslora,
    useDora: config.useDora,
    targetModules,
    modulesToSave: config.modulesToSave,
    taskType: taskTypeOf(labels, newHead, config.modulesToSave),
    base: config.model,
    gaussian: config.initLoraWeights === "gaussian",
  };
}

/** Modules that PEFT looks for in every adapter of a classifier. */
const PEFT_HEADS = ["classifier", "score"];

/**
 * PEFT's task type. A new head is not PEFT's, which then sees a bare encoder; an adapter that leaves the
 * model's own head alone loads without a task type.
 */
function taskTypeOf(
  labels: LabelMap | undefined,
  newHead: boolean,
  saved: readonly string[],
): TaskType | undefined {
  if (labels === undefined) return "CAUSAL_LM";
  if (newHead) return "FEATURE_EXTRACTION";
  const withHead = saved.some((path) => PEFT_HEADS.includes(path.split(".").at(-1)!));
  return withHead ? "SEQ_CLS" : undefined;
}
