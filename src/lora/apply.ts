/** Applies a saved adapter to its base: checks that they match, then edits the graph. */
import { BadInputError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import type { Adapter } from "./adapter_files.ts";
import { injectBottlenecks } from "./bottleneck/inject.ts";
import { loraScale } from "./config.ts";
import { modelDigest } from "./digest.ts";
import { withRowFactors } from "./dora.ts";
import { indexGraph } from "./graph_index.ts";
import { addClassificationHead } from "./head.ts";
import { inject, type Injected } from "./inject.ts";
import type { InjectOptions } from "./lora_weights.ts";
import { findModules, type LinearModule } from "./modules.ts";
import { makeTrainable } from "./modules_to_save.ts";
import { PatternValues } from "./pattern.ts";
import { injectScales } from "./scale_adapter.ts";
import type { LoraSite } from "./targets.ts";
import { trainVectors, withVectors } from "./vectors/train.ts";
import { injectVirtualTokens, prefixLayersOf } from "./virtual_tokens/inject.ts";

/**
 * The sites of an adapter on a model.
 *
 * @throws {BadInputError} for a module the model does not have, and for shapes that do not fit
 */
export function adapterSites(
  modules: readonly LinearModule[],
  { lora, config }: Pick<Adapter, "lora" | "config">,
): readonly LoraSite[] {
  const known = new Set(modules.map((module) => module.path));
  for (const path of lora.keys()) if (!known.has(path)) throw unknownModule(modules, path);
  const alphas = new PatternValues(config.alphaPattern);
  return modules.flatMap((module) => {
    const weights = lora.get(module.path);
    if (weights === undefined) return [];
    const rank = weights.a.dims[0];
    const alpha = alphas.of(module.path) ?? config.alpha;
    const scale = loraScale(alpha, rank, config.useRslora);
    return [{ module, rank, alpha, scale, dropout: config.dropout }];
  });
}

/**
 * The module of a path.
 *
 * @throws {BadInputError} if the model does not have it
 */
export function moduleOf(modules: readonly LinearModule[], path: string): LinearModule {
  const found = modules.find((module) => module.path === path);
  if (found !== undefined) return found;
  throw unknownModule(modules, path);
}

function unknownModule(modules: readonly LinearModule[], path: string): BadInputError {
  const last = path.slice(path.lastIndexOf(".") + 1);
  const alike = modules.filter((module) => module.path.endsWith(last)).slice(0, 3);
  const hint = alike.length === 0
    ? ""
    : `; it has ${alike.map((module) => module.path).join(", ")}`;
  return new BadInputError(
    `The adapter targets module "${path}", which the base does not have${hint}`,
  );
}

/**
 * Refuses an adapter that was trained on another base.
 *
 * @throws {BadInputError} giving both digests
 */
export function checkBase(adapter: Adapter, model: Model, where: string): void {
  if (adapter.card === undefined) return;
  const digest = modelDigest(model);
  if (adapter.card.baseDigest === digest) return;
  throw new BadInputError(
    `${where}: the adapter belongs to another base: it was trained on ${
      short(adapter.card.baseDigest)
    }, ` +
      `this model is ${short(digest)}`,
  );
}

const short = (digest: string) => digest.slice(0, "sha256:".length + 12);

/**
 * A model with an adapter, its fully trained modules and its head.
 *
 * @throws {BadInputError} if the adapter does not fit the model
 */
export function applyAdapter(
  base: Model,
  adapter: Adapter,
  options: InjectOptions & {
    /** Whether A and B will change, and DoRA's norms with them; default false. */
    readonly trains?: boolean;
  } = {},
): Injected {
  const { vectors = new Map() } = adapter;
  const own = withVectors(base, vectors);
  const { model } = own;
  const modules = findModules(model);
  const add = adapter.config.adapterType === "scales" ? injectScales : inject;
  const sites = adapterSites(modules, adapter);
  const weights = options.trains === true
    ? adapter.lora
    : withRowFactors(indexGraph(model.graph), sites, adapter.lora);
  const injected = add(model, sites, weights, options);
  const trainable = new Map(injected.trainable);
  let now = injected.model;
  const take = (edited: { model: Model; trainable: Injected["trainable"] }) => {
    now = edited.model;
    for (const [name, what] of edited.trainable) trainable.set(name, what);
  };
  for (const [path, values] of adapter.saved) {
    take(makeTrainable(now, moduleOf(modules, path), values, options));
  }
  const { bottlenecks, config } = adapter;
  if (bottlenecks !== undefined && config.bottleneck !== undefined) {
    const followed = [...bottlenecks.keys()].map((path) => moduleOf(modules, path));
    take(injectBottlenecks(now, followed, bottlenecks, config.bottleneck, options));
  }
  const { promptEmbeddings } = adapter;
  if (promptEmbeddings !== undefined && config.virtualTokens !== undefined) {
    const layers = prefixLayersOf(model, modules, config.virtualTokens);
    take(injectVirtualTokens(now, config.virtualTokens, promptEmbeddings, layers, options));
  }
  if (adapter.head !== undefined) {
    const pooling = adapter.card?.pooling ?? "mean";
    take(addClassificationHead(now, adapter.head, { pooling, asInputs: options.asInputs }));
  }
  if (options.trains === true && vectors.size > 0) {
    take(trainVectors({ ...own, model: now }));
  }
  return { model: now, trainable, masks: injected.masks };
}
