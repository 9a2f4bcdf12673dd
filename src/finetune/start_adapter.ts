/** The matrices that a new adapter starts with. */
import { randomFor } from "../data/mod.ts";
import { BadInputError, ParameterError } from "../errors.ts";
import { float32, type Tensor, toNumbers } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import { type GraphIndex, indexGraph } from "../lora/graph_index.ts";
import { initAdapter } from "../lora/init.ts";
import type { LoraWeights } from "../lora/lora_weights.ts";
import { scaleGrid } from "../lora/scale_adapter.ts";
import { parseLoraStart } from "../lora/start.ts";
import { EXACT_SIDE, orthonormalFactors, principalFactors } from "../lora/start_from_weight.ts";
import { weightValues } from "../lora/stored_matrix.ts";
import type { LoraSite } from "../lora/targets.ts";
import { openFloatWeights } from "../model/float_weights.ts";
import type { FineTuneAdapter, FineTuneConfig } from "./config.ts";

/** The parameters that decide where training starts. */
export type StartChoice =
  & Pick<FineTuneAdapter, "adapterType" | "initLoraWeights" | "loftqModel">
  & Pick<FineTuneConfig, "seed">;

/** Initial matrices, by module path. */
export interface AdapterStart {
  readonly weights: ReadonlyMap<string, LoraWeights>;
  /** Whether their product is subtracted, so that training starts at the base all the same. */
  readonly subtracted: boolean;
  /** Whether training starts at the base, up to rounding. */
  readonly atBase: boolean;
}

/**
 * @throws {ParameterError} if the start does not fit the kind of adapter, a rank, or the weights
 * @throws {BadInputError | UsageError} if the model in floats cannot be read, or is another one
 */
export function startAdapter(
  model: Model,
  sites: readonly LoraSite[],
  config: StartChoice,
): AdapterStart {
  const start = parseLoraStart(config.initLoraWeights);
  const random = randomFor(config.seed, "adapter");
  const index = indexGraph(model.graph);
  const scales = config.adapterType.includes("scales");
  switch (start.from) {
    case "random": {
      const columnsOf = scales
        ? ({ module }: LoraSite) => scaleGrid(index, module).blocks
        : undefined;
      const weights = initAdapter(sites, start.init, random, columnsOf);
      return { weights, subtracted: false, atBase: true };
    }
    case "pissa": {
      const { iterations } = start;
      const weights = eachSite(
        sites,
        (site) => principalFactors(site, weightValues(index, site.module), random, iterations),
      );
      return { weights, subtracted: true, atBase: true };
    }
    case "olora": {
      const weights = eachSite(
        sites,
        (site) => orthonormalFactors(site, weightValues(index, site.module)),
      );
      return { weights, subtracted: true, atBase: true };
    }
    case "loftq":
      return { weights: loftq(index, sites, config), subtracted: false, atBase: false };
  }
}

/** Power iterations per weight: what they leave out is nothing beside what a low rank leaves out. */
const LOFTQ_ITERATIONS = 16;
/** Share of a weight's norm below which its error counts as none. */
const NO_ERROR = 1e-5;
/** Cosine of a weight and its quantised form, which 2 bits keep above 0.8. */
const LEAST_COSINE = 0.5;

/** Layers that are not quantised start as usual. */
function loftq(
  index: GraphIndex,
  sites: readonly LoraSite[],
  { loftqModel, seed }: StartChoice,
): ReadonlyMap<string, LoraWeights> {
  const path = loftqModel!; // its presence was checked
  using floats = openFloatWeights(path);
  const random = randomFor(seed, "adapter");
  const usual = initAdapter(sites, "kaiming", random);
  let quantised = 0;
  const weights = eachSite(sites, (site) => {
    const wanted = floats.weightOf(site.module);
    const { error, relative, cosine } = quantisationError(wanted, weightValues(index, site.module));
    if (!(cosine >= LEAST_COSINE)) {
      throw new BadInputError(
        `${path}: the weight of "${site.module.path}" does not resemble the base's (cosine ` +
          `${cosine.toFixed(3)}): it must be the base before it was quantised`,
      );
    }
    if (relative < NO_ERROR) return usual.get(site.module.path)!;
    quantised++;
    const isLarge = Math.min(...wanted.dims) > EXACT_SIDE;
    return principalFactors(site, error, random, isLarge ? LOFTQ_ITERATIONS : undefined);
  });
  if (quantised > 0) return weights;
  throw new ParameterError(
    "loftqModel",
    (name) =>
      `${
        name("loftqModel")
      } must be the base before it was quantised: the weights of ${path} are ` +
      "those of the base",
  );
}

/** What quantisation took from a weight [out, in]. */
function quantisationError(wanted: Tensor, stored: Tensor) {
  const [w, q] = [toNumbers(wanted), toNumbers(stored)];
  const error = new Float32Array(w.length);
  let [ww, qq, wq, ee] = [0, 0, 0, 0];
  for (let i = 0; i < error.length; i++) {
    error[i] = w[i] - q[i];
    ww += w[i] * w[i];
    qq += q[i] * q[i];
    wq += w[i] * q[i];
    ee += error[i] * error[i];
  }
  return {
    error: float32(wanted.dims, error),
    relative: Math.sqrt(ee / ww),
    cosine: wq / Math.sqrt(ww * qq),
  };
}

function eachSite(sites: readonly LoraSite[], make: (site: LoraSite) => LoraWeights) {
  return new Map(sites.map((site) => [site.module.path, make(site)]));
}
