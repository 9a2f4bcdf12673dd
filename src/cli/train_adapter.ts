/** The adapter of a training run: put into the user's graph, and taken out again as files. */
import { UsageError } from "../errors.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { type LabelMap, labelsToTrain, randomFor } from "../data/mod.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import type { Adapter } from "../lora/adapter_files.ts";
import { applyAdapter, checkBase } from "../lora/apply.ts";
import {
  addClassificationHead,
  findModules,
  HEAD,
  initAdapter,
  initLinear,
  inject,
  type LoraConfig,
  type LoraWeights,
  makeTrainable,
  parseLayers,
  reachOf,
  resolveModulesToSave,
  resolveTargets,
  targetNames,
  tokenStates,
  type Trainable,
} from "../lora/mod.ts";
import type { SavedModule } from "../lora/adapter_tensors.ts";
import type { LinearModule } from "../lora/modules.ts";
import type { PeftConfig, TaskType } from "../lora/peft_config.ts";
import { indexGraph } from "../lora/graph_index.ts";
import { injectScales, scaleGrid } from "../lora/scale_adapter.ts";
import type { LoraSite } from "../lora/targets.ts";
import type { TrainFlags } from "./train_flags.ts";

/** A model with an adapter in it, ready to train. */
export interface AdaptedModel {
  readonly model: Model;
  /** Tensors of the adapter, by name. */
  readonly trainable: ReadonlyMap<string, Trainable>;
  /** Those that the loss depends on: what is trained. */
  readonly trained: ReadonlySet<string>;
  /** Whether a classification head was added. */
  readonly newHead: boolean;
  /** What `adapter_config.json` will say. */
  readonly config: PeftConfig;
}

/** Whether a model gives scores of classes or tokens already. */
export function hasLogits(model: Model): boolean {
  return model.graph.outputs.some(({ name }) => name === "logits");
}

/**
 * Checks that a model can learn to go on with texts.
 *
 * @throws {UsageError} where it scores whole texts, or nothing
 */
export function checkScoresTokens({ graph: { outputs } }: Model, source: string): void {
  const logits = outputs.find(({ name }) => name === "logits");
  // Where the graph does not state the shape, the comparison with the lowered graph finds out.
  const shape = logits?.type?.shape;
  const rank = shape?.length ?? 3;
  if (shape !== undefined && rank === 3 && shape[1] === 1) {
    throw new UsageError(
      `Cannot learn the texts of ${source}: the model scores the last token alone: export it without ` +
        "that (onnxruntime-genai's builder: prune_lm_head=false)",
    );
  }
  if (logits !== undefined && rank === 3) return;
  const what = logits === undefined
    ? 'it has no output "logits"'
    : 'its output "logits" scores whole texts';
  throw new UsageError(
    `Cannot learn the texts of ${source}: the model is no language model: ${what}; ` +
      "for --task classification the data needs a text and a label",
  );
}

/**
 * Class names in the order of a model's own classes, or sorted where it gets a new head.
 *
 * @param ownNames `id2label` of the model's config.json, where it has one
 * @throws {UsageError} where an existing head does not know a class
 */
export function labelsFor(
  model: Model,
  ownNames: LabelMap | undefined,
  found: ReadonlySet<string>,
  source: string,
): LabelMap {
  if (!hasLogits(model)) return labelsToTrain(found, source);
  if (ownNames !== undefined && [...found].every((name) => ownNames.includes(name))) {
    return ownNames;
  }
  const shape = model.graph.outputs.find(({ name }) => name === "logits")?.type?.shape;
  const classes = shape?.at(-1);
  if (shape === undefined || shape.length === 2 && typeof classes !== "number") {
    throw new UsageError(
      `Cannot learn the classes of ${source}: the model does not say how many its output "logits" ` +
        "scores; export it with the output's shape",
    );
  }
  if (shape.length !== 2 || typeof classes !== "number") {
    throw new UsageError(
      `Cannot learn the classes of ${source}: the model's output "logits" scores tokens, not whole ` +
        "texts; a language model learns the texts with --task causal",
    );
  }
  const sorted = labelsToTrain(found, source);
  if (sorted.length <= classes) return sorted;
  throw new UsageError(
    `Cannot learn the classes of ${source}: the model's head has ${classes}: current value is ` +
      sorted.length,
  );
}

function loraConfigOf(flags: TrainFlags): LoraConfig {
  return {
    rank: flags.rank,
    alpha: flags.loraAlpha,
    dropout: flags.loraDropout,
    targetModules: flags.targetModules,
    rankPattern: flags.rankPattern,
    alphaPattern: flags.alphaPattern,
    useRslora: flags.useRslora,
    layers: flags.layers === undefined ? undefined : parseLayers(flags.layers),
    numLayers: flags.numLayers,
    modulesToSave: flags.modulesToSave,
    init: flags.initLoraWeights,
  };
}

/** What a new adapter trains of a model. */
export interface AdapterTargets {
  readonly modules: readonly LinearModule[];
  readonly sites: readonly LoraSite[];
  /** Modules that are trained in full. */
  readonly saved: readonly LinearModule[];
}

/**
 * What the flags choose of a model, which needs no data to be found wrong.
 *
 * @throws {UsageError} for targets the model does not have
 */
export function targetsOf(model: Model, flags: TrainFlags): AdapterTargets {
  const config = loraConfigOf(flags);
  const modules = findModules(model);
  const reaches = reachOf(model);
  const saved = resolveModulesToSave(modules, config.modulesToSave);
  const unreached = saved.find((module) => !reaches(module));
  if (unreached !== undefined) {
    throw new UsageError(
      `Cannot train "${unreached.path}" (--modules-to-save): the loss does not depend on it`,
    );
  }
  const sites = resolveTargets(modules, config, reaches);
  if (flags.adapterType === "scales") {
    if (flags.loraDropout > 0) {
      throw new UsageError(
        `--lora-dropout drops inputs of LoRA's matrices, which an adapter of scales has not: current ` +
          `value is ${flags.loraDropout}`,
      );
    }
    const index = indexGraph(model.graph);
    for (const { module } of sites) scaleGrid(index, module);
  }
  return { modules, sites, saved };
}

/** Adds a new adapter, fully trained modules and, for classes without an output `logits`, a head. */
export function addAdapter(
  model: Model,
  flags: TrainFlags,
  labels: LabelMap | undefined,
  { modules, sites, saved }: AdapterTargets = targetsOf(model, flags),
): AdaptedModel {
  const config = loraConfigOf(flags);
  const scales = flags.adapterType === "scales";
  const index = indexGraph(model.graph);
  const weights = initAdapter(
    sites,
    config.init,
    randomFor(flags.seed, "adapter"),
    scales ? ({ module }) => scaleGrid(index, module).blocks : undefined,
  );
  const injected = (scales ? injectScales : inject)(model, sites, weights, { dropout: true });
  const trainable = new Map(injected.trainable);
  let now = injected.model;
  for (const module of saved) {
    const edited = makeTrainable(now, module);
    now = edited.model;
    for (const [name, what] of edited.trainable) trainable.set(name, what);
  }
  const newHead = labels !== undefined && !hasLogits(model);
  if (newHead) {
    const { hidden } = tokenStates(now);
    const head = initLinear(labels.length, hidden, randomFor(flags.seed, "head"));
    const edited = addClassificationHead(now, head, { pooling: flags.pooling });
    now = edited.model;
    for (const [name, what] of edited.trainable) trainable.set(name, what);
  }
  const adapted = targetNames(sites.map(({ module }) => module.path), modules);
  return {
    model: now,
    trainable,
    trained: new Set(trainable.keys()),
    newHead,
    config: peftConfigOf(flags, adapted, labels, newHead),
  };
}

/**
 * Puts a saved adapter into its base, to train it further.
 *
 * @param dropout of this run, whatever the adapter was trained with before
 * @throws {BadInputError} where it belongs to another base or does not fit
 * @throws {UsageError} where it was trained for other classes
 */
export function continueAdapter(
  model: Model,
  adapter: Adapter,
  dropout: number,
  labels: LabelMap | undefined,
  where: string,
): AdaptedModel {
  checkBase(adapter, model, where);
  const saved = adapter.card?.labels;
  if (saved !== undefined && saved.join("\0") !== labels?.join("\0")) {
    throw new UsageError(
      `Cannot go on from ${where}: it was trained for the classes ${saved.slice(0, 5)}: ` +
        `current value is ${labels?.slice(0, 5) ?? "none"}`,
    );
  }
  const config = { ...adapter.config, dropout };
  const applied = applyAdapter(model, { ...adapter, config }, { dropout: true });
  // PEFT adapts BERT's pooler, too, where nothing reads it.
  const reaches = reachOf(model);
  const others = new Set(
    findModules(model).filter((module) => !reaches(module)).map(({ path }) => path),
  );
  const trained = [...applied.trainable].filter(([, { path }]) => !others.has(path));
  return {
    model: applied.model,
    trainable: applied.trainable,
    trained: new Set(trained.map(([name]) => name)),
    newHead: adapter.head !== undefined,
    config,
  };
}

/** Sorts tensors into an adapter; what was not trained is as it was. */
export function adapterOf(
  { model, trainable, newHead, config }: AdaptedModel,
  parameters: ReadonlyMap<string, Tensor>,
  card: AdapterCard,
): Adapter & { readonly card: AdapterCard } {
  const byPath = new Map<string, Partial<Record<Trainable["which"], Tensor>>>();
  for (const [name, { path, which }] of trainable) {
    if (newHead && (name === HEAD.weight || name === HEAD.bias)) continue;
    const parts = byPath.get(path) ?? {};
    parts[which] = parameters.get(name) ?? model.graph.initializers.get(name);
    byPath.set(path, parts);
  }
  const lora = new Map<string, LoraWeights>();
  const saved = new Map<string, SavedModule>();
  for (const [path, { A, B, weight, bias }] of byPath) {
    if (A !== undefined && B !== undefined) lora.set(path, { a: A, b: B });
    else if (weight !== undefined) saved.set(path, { weight, bias });
  }
  const head = newHead
    ? { weight: parameters.get(HEAD.weight)!, bias: parameters.get(HEAD.bias)! }
    : undefined;
  return { lora, saved, head, config, card };
}

function peftConfigOf(
  flags: TrainFlags,
  targetModules: readonly string[],
  labels: LabelMap | undefined,
  newHead: boolean,
): PeftConfig {
  return {
    adapterType: flags.adapterType,
    rank: flags.rank,
    alpha: flags.loraAlpha,
    dropout: flags.loraDropout,
    rankPattern: flags.rankPattern,
    alphaPattern: flags.alphaPattern,
    useRslora: flags.useRslora,
    targetModules,
    modulesToSave: flags.modulesToSave,
    taskType: taskTypeOf(labels, newHead, flags.modulesToSave),
    base: flags.model,
    gaussian: flags.initLoraWeights === "gaussian",
  };
}

/** Modules that PEFT looks for in every adapter of a classifier. */
const PEFT_HEADS = ["classifier", "score"];

/**
 * PEFT's task type: a new head is not PEFT's, which then sees a bare encoder; and an adapter that leaves
 * the model's own head alone loads with none.
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
