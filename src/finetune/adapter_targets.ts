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
import type { LinearModule } from "../lora/modules.ts";
import { scaleGrid } from "../lora/scale_adapter.ts";
import type { LoraSite } from "../lora/targets.ts";
import type { FineTuneAdapter } from "./config.ts";

/** Converts a configuration to that of `src/lora`. */
function loraConfigOf(config: FineTuneAdapter): LoraConfig {
  return {
    rank: config.rank,
    alpha: config.loraAlpha,
    dropout: config.loraDropout,
    targetModules: config.targetModules,
    rankPattern: config.rankPattern,
    alphaPattern: config.alphaPattern,
    useRslora: config.useRslora,
    layers: config.layers === undefined ? undefined : parseLayers(config.layers),
    numLayers: config.numLayers,
    modulesToSave: config.modulesToSave,
    init: config.initLoraWeights,
  };
}

/** What a new adapter trains in a model. */
export interface AdapterTargets {
  readonly modules: readonly LinearModule[];
  readonly sites: readonly LoraSite[];
  /** Modules that are trained in full. */
  readonly saved: readonly LinearModule[];
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
  const sites = resolveTargets(modules, lora, reaches);
  if (config.adapterType === "scales") checkScales(model, sites, config);
  return { modules, sites, saved };
}

function checkScales(
  model: Model,
  sites: readonly LoraSite[],
  { loraDropout }: FineTuneAdapter,
): void {
  if (loraDropout > 0) {
    throw new ParameterError(
      "loraDropout",
      (name) =>
        `${name("loraDropout")} drops inputs of LoRA's matrices, which an adapter of scales has ` +
        `not: current value is ${loraDropout}`,
    );
  }
  const index = indexGraph(model.graph);
  for (const { module } of sites) scaleGrid(index, module);
}
