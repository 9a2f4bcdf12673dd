/** The modules of a model that a new adapter trains. */
import { ParameterError } from "../errors.ts";
import type { Model } from "../graph/types.ts";
import { indexGraph } from "../lora/graph_index.ts";
import {
  findModules,
  type LoraConfig,
  parseLayers,
  reachOf,
  resolveModulesToSave,
  resolveTargets,
} from "../lora/mod.ts";
import { PLACEMENTS } from "../lora/bottleneck/config.ts";
import { bottleneckSites } from "../lora/bottleneck/sites.ts";
import type { LinearModule } from "../lora/modules.ts";
import { isLowRank } from "../lora/peft_type.ts";
import { scaleGrid } from "../lora/scale_adapter.ts";
import type { LoraSite } from "../lora/targets.ts";
import { chooseVectors } from "../lora/vectors/choose.ts";
import type { ModuleVector } from "../lora/vectors/find.ts";
import { VECTOR_METHODS } from "../lora/vectors/methods.ts";
import { VIRTUAL_METHODS, type VirtualTokensConfig } from "../lora/virtual_tokens/config.ts";
import { tokenEmbedding } from "../lora/virtual_tokens/embedding.ts";
import { type PrefixLayer, prefixLayersOf } from "../lora/virtual_tokens/inject.ts";
import { modelKind } from "../model/model_kind.ts";
import type { FineTuneAdapter } from "./config.ts";

/** Converts a configuration to that of `src/lora`. */
function loraConfigOf(config: FineTuneAdapter): Omit<LoraConfig, "init"> {
  return {
    rank: config.rank,
    alpha: config.loraAlpha,
    dropout: config.loraDropout,
    targetModules: config.targetModules,
    rankPattern: config.rankPattern,
    alphaPattern: config.alphaPattern,
    useRslora: config.useRslora,
    useDora: config.useDora,
    layers: config.layers === undefined ? undefined : parseLayers(config.layers),
    numLayers: config.numLayers,
    modulesToSave: config.modulesToSave,
  };
}

/** What a new adapter trains in a model. */
export interface AdapterTargets {
  readonly modules: readonly LinearModule[];
  readonly sites: readonly LoraSite[];
  /** Modules that are trained in full. */
  readonly saved: readonly LinearModule[];
  /** Layers behind which there are bottleneck adapters. */
  readonly followed: readonly LinearModule[];
  /** Vectors of the graph. */
  readonly vectors: readonly ModuleVector[];
  /** Virtual tokens, and the layers that a prefix has values in. */
  readonly virtual?: {
    readonly config: VirtualTokensConfig;
    readonly layers: readonly PrefixLayer[];
  };
}

/**
 * Resolves what a configuration chooses in a model; mistakes are found without any data.
 *
 * @throws {UsageError} for targets that the model does not have
 */
export function targetsOf(model: Model, config: FineTuneAdapter): AdapterTargets {
  const lora = loraConfigOf(config);
  const modules = findModules(model);
  const reaches = reachOf(model);
  const saved = resolveModulesToSave(modules, config.modulesToSave);
  const unreached = saved.find((module) => !reaches(module));
  if (unreached !== undefined) {
    throw new ParameterError(
      "modulesToSave",
      (name) =>
        `Cannot train "${unreached.path}" (${
          name("modulesToSave")
        }): the loss does not depend on it`,
    );
  }
  const sites = config.adapterType.some(isLowRank) ? resolveTargets(modules, lora, reaches) : [];
  if (config.adapterType.includes("scales")) checkScales(model, sites);
  const placement = PLACEMENTS.find((placement) => config.adapterType.includes(placement));
  const followed = placement === undefined
    ? []
    : bottleneckSites(modules, placement, lora, reaches);
  return {
    ...{ modules, sites, saved, followed },
    vectors: vectorTargets(model, modules, sites, config),
    virtual: virtualTargets(model, modules, config),
  };
}

function vectorTargets(
  model: Model,
  modules: readonly LinearModule[],
  sites: readonly LoraSite[],
  { adapterType, bias, layers, numLayers }: FineTuneAdapter,
): readonly ModuleVector[] {
  const last = Math.max(-1, ...modules.map(({ layer }) => layer ?? -1));
  const chosen = layers !== undefined
    ? parseLayers(layers)
    : numLayers === -1
    ? undefined
    : Array.from({ length: numLayers }, (_, i) => last - i);
  return chooseVectors(model, modules, {
    method: VECTOR_METHODS.find((method) => adapterType.includes(method)),
    bias,
    adapted: new Set(sites.map(({ module }) => module.path)),
    ...(chosen && { layers: new Set(chosen) }),
  });
}

function virtualTargets(
  model: Model,
  modules: readonly LinearModule[],
  { adapterType, numVirtualTokens }: FineTuneAdapter,
): AdapterTargets["virtual"] {
  const method = VIRTUAL_METHODS.find((method) => adapterType.includes(method));
  if (method === undefined) return undefined;
  const embedding = tokenEmbedding(model);
  const tokens = { method, numVirtualTokens };
  if (method === "prompt_tuning") {
    return { config: { ...tokens, tokenDim: embedding.width }, layers: [] };
  }
  if (modelKind(model.graph) !== "causal") {
    throw new ParameterError(
      "adapterType",
      (name) =>
        `${
          name("adapterType", method)
        } needs a language model: an encoder has no keys and values ` +
        "of earlier tokens",
    );
  }
  const layers = prefixLayersOf(model, modules, tokens);
  const [{ keys: { outFeatures }, rotation: { headSize } }] = layers;
  const heads = outFeatures / headSize;
  return {
    config: {
      ...tokens,
      tokenDim: outFeatures,
      numLayers: layers.length,
      numAttentionHeads: heads,
    },
    layers,
  };
}

function checkScales(model: Model, sites: readonly LoraSite[]): void {
  const index = indexGraph(model.graph);
  for (const { module } of sites) scaleGrid(index, module);
}
